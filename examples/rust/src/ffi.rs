//! What the crate uses of <duet/duet.h>, as it stands there. tests/layout.rs compares the structs with the header's.
#![allow(non_camel_case_types)]
use std::os::raw::{c_char, c_int, c_void};

pub const DUET_STATUS_OK: c_int = 0;
pub const DUET_DTYPE_F32: c_int = 0;
pub const DUET_DTYPE_I32: c_int = 3;

#[repr(C)]
pub struct duet_context {
    _opaque: [u8; 0],
}

/// Structs of C, with a function that gives their size and their fields' offsets in the form of `layout_of_c`.
macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub struct $name { $(pub $field: $type,)* }
        )*

        /// A line a struct, "name size", then a line a field, "  name offset".
        pub fn layout_of_rust() -> String {
            let mut out = String::new();
            $({
                let uninit = std::mem::MaybeUninit::<$name>::uninit();
                let start = uninit.as_ptr();
                out += &format!("{} {}\n", stringify!($name), std::mem::size_of::<$name>());
                $(
                    // Only the address is taken: nothing is read.
                    let field = unsafe { std::ptr::addr_of!((*start).$field) };
                    out += &format!("  {} {}\n", stringify!($field), field as usize - start as usize);
                )*
            })*
            out
        }

        /// The program in C that prints the same of the header.
        pub fn layout_of_c() -> String {
            let mut out = String::from("#include <duet/duet.h>\n#include <stdio.h>\nint main(void) {\n");
            $(
                let name = stringify!($name);
                out += &format!("printf(\"{name} %zu\\n\", sizeof({name}));\n");
                $(
                    let field = stringify!($field);
                    out += &format!("printf(\"  {field} %zu\\n\", offsetof({name}, {field}));\n");
                )*
            )*
            out + "return 0;\n}\n"
        }
    };
}

structs! {
    duet_const_matrix {
        data: *const c_void,
        rows: i64,
        columns: i64,
        row_stride: i64,
        dtype: c_int,
        reserved: i32,
    }
    duet_matrix {
        data: *mut c_void,
        rows: i64,
        columns: i64,
        row_stride: i64,
        dtype: c_int,
        reserved: i32,
    }
    duet_const_vector {
        data: *const c_void,
        size: i64,
        dtype: c_int,
        reserved: i32,
    }
    duet_vector {
        data: *mut c_void,
        size: i64,
        dtype: c_int,
        reserved: i32,
    }
    duet_workspace {
        data: *mut c_void,
        bytes: usize,
    }
    duet_context_options {
        struct_size: usize,
        device: c_int,
        device_index: i32,
        threads: i32,
        precision: c_int,
        stream: *mut c_void,
        faults: *mut c_void,
        small_rows: i64,
    }
    duet_distance_inputs {
        struct_size: usize,
        x: duet_const_matrix,
        y: duet_const_matrix,
        metric: c_int,
        reserved: i32,
    }
    duet_distance_outputs {
        struct_size: usize,
        distances: duet_matrix,
    }
    duet_mining_inputs {
        struct_size: usize,
        x: duet_const_matrix,
        y: duet_const_matrix,
        labels_x: duet_const_vector,
        labels_y: duet_const_vector,
        group_x: duet_const_vector,
        group_y: duet_const_vector,
        first_row: i64,
        first_column: i64,
        draw: *const c_void,
        metric: c_int,
        margin: f32,
        exclude_own: i32,
        reserved: i32,
        label_sets: duet_const_matrix,
    }
    duet_mining_hard_side {
        struct_size: usize,
        positive_index: duet_vector,
        negative_index: duet_vector,
        positive_distance: duet_vector,
        negative_distance: duet_vector,
    }
    duet_mining_hard_outputs {
        struct_size: usize,
        rows: *const duet_mining_hard_side,
        columns: *const duet_mining_hard_side,
    }
}

#[link(name = "duet")]
extern "C" {
    pub fn duet_status_name(status: c_int) -> *const c_char;
    pub fn duet_last_error() -> *const c_char;
    pub fn duet_version() -> *const c_char;
    pub fn duet_simd_target() -> *const c_char;
    pub fn duet_context_create(options: *const duet_context_options, context: *mut *mut duet_context) -> c_int;
    pub fn duet_context_destroy(context: *mut duet_context);
    pub fn duet_context_threads(context: *const duet_context) -> i32;
    pub fn duet_distance_workspace(
        context: *const duet_context,
        inputs: *const duet_distance_inputs,
        bytes: *mut usize,
    ) -> c_int;
    pub fn duet_distance_forward(
        context: *mut duet_context,
        inputs: *const duet_distance_inputs,
        outputs: *const duet_distance_outputs,
        workspace: duet_workspace,
    ) -> c_int;
    pub fn duet_mining_workspace(
        context: *const duet_context,
        inputs: *const duet_mining_inputs,
        bytes: *mut usize,
    ) -> c_int;
    pub fn duet_mining_hard(
        context: *mut duet_context,
        inputs: *const duet_mining_inputs,
        outputs: *const duet_mining_hard_outputs,
        workspace: duet_workspace,
    ) -> c_int;
}
