//! Asks pkg-config where the library is.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let found = Command::new("pkg-config")
        .args(["--libs-only-L", "duet"])
        .output()
        .expect("pkg-config cannot be run");
    if !found.status.success() {
        panic!("no duet.pc: {}", String::from_utf8_lossy(&found.stderr));
    }
    for folder in String::from_utf8_lossy(&found.stdout).split_whitespace() {
        println!("cargo:rustc-link-search=native={}", folder.trim_start_matches("-L"));
    }
}
