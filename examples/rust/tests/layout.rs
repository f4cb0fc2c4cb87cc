//! The structs of ffi.rs against the header that is installed: sizes and offsets as the C compiler has them.
use std::path::Path;
use std::process::Command;

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn structs_are_laid_out_as_in_c() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("layout.c"), folder.join("layout"));
    std::fs::write(&source, duet::ffi::layout_of_c()).unwrap();
    let flags = output_of(Command::new("pkg-config").args(["--cflags", "duet"]));
    output_of(Command::new("cc").args(flags.split_whitespace()).arg(source).arg("-o").arg(&program));
    assert_eq!(duet::ffi::layout_of_rust(), output_of(&mut Command::new(program)));
}
