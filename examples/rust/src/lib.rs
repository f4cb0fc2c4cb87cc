//! Distances and hard mining of embeddings with duet. The library borrows the arrays of a call, and nothing longer.
pub mod ffi;

use ffi::*;
use std::ffi::CStr;
use std::fmt;
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

/// What a call had to say: the argument, what was expected and what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub status: &'static str,
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}: {}", self.status, self.text)
    }
}

impl std::error::Error for Error {}

/// Which distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Metric {
    SquaredEuclidean = 1,
    Euclidean = 2,
    Cosine = 3,
}

/// Rows of `columns` float32 values, one after another.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> Rows<'a> {
    /// None where the values are no whole number of rows.
    pub fn new(values: &'a [f32], columns: usize) -> Option<Self> {
        if columns == 0 || values.len() % columns != 0 {
            return None;
        }
        Some(Rows { values, columns })
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.columns
    }

    fn view(&self) -> duet_const_matrix {
        duet_const_matrix {
            data: self.values.as_ptr() as *const c_void,
            rows: self.count() as i64,
            columns: self.columns as i64,
            row_stride: self.columns as i64,
            dtype: DUET_DTYPE_F32,
            reserved: 0,
        }
    }
}

/// Of one anchor: the farthest row of its class and the nearest of another, each with its distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hardest {
    pub positive: Option<(usize, f32)>,
    pub negative: Option<(usize, f32)>,
}

/// Threads and scratch memory of the library. Any thread may use it, one at a time: calls take `&mut self`.
pub struct Context {
    raw: *mut duet_context,
    scratch: Vec<Line>,
}

// Safety: a context is not bound to the thread that made it.
unsafe impl Send for Context {}

impl Context {
    /// On the CPU; `threads` 0: as many as the process may use.
    pub fn new(threads: i32) -> Result<Self, Error> {
        // Safety: zeroes are the defaults of every field.
        let mut options: duet_context_options = unsafe { zeroed() };
        options.struct_size = size_of::<duet_context_options>();
        options.threads = threads;
        let mut raw = null_mut();
        check(unsafe { duet_context_create(&options, &mut raw) })?;
        Ok(Context { raw, scratch: Vec::new() })
    }

    pub fn threads(&self) -> i32 {
        unsafe { duet_context_threads(self.raw) }
    }

    /// The distance of every row of x to every row of y, row-major.
    pub fn distances(&mut self, x: Rows, y: Rows, metric: Metric) -> Result<Vec<f32>, Error> {
        let mut distances = vec![0f32; x.count() * y.count()];
        let inputs = duet_distance_inputs {
            struct_size: size_of::<duet_distance_inputs>(),
            x: x.view(),
            y: y.view(),
            metric: metric as c_int,
            reserved: 0,
        };
        let outputs = duet_distance_outputs {
            struct_size: size_of::<duet_distance_outputs>(),
            distances: duet_matrix {
                data: distances.as_mut_ptr() as *mut c_void,
                rows: x.count() as i64,
                columns: y.count() as i64,
                row_stride: y.count() as i64,
                dtype: DUET_DTYPE_F32,
                reserved: 0,
            },
        };
        let mut bytes = 0;
        // Safety: every view is of a slice that outlives the call, with its own length.
        check(unsafe { duet_distance_workspace(self.raw, &inputs, &mut bytes) })?;
        let workspace = self.workspace(bytes);
        check(unsafe { duet_distance_forward(self.raw, &inputs, &outputs, workspace) })?;
        Ok(distances)
    }

    /// For every row of x the farthest row of y with its label and the nearest with another. A label below 0 is none.
    pub fn hardest(
        &mut self,
        x: Rows,
        labels_x: &[i32],
        y: Rows,
        labels_y: &[i32],
        metric: Metric,
    ) -> Result<Vec<Hardest>, Error> {
        let anchors = x.count();
        let (mut positives, mut negatives) = (vec![-1i32; anchors], vec![-1i32; anchors]);
        let (mut far, mut near) = (vec![0f32; anchors], vec![0f32; anchors]);
        // Safety: zeroes are the defaults of every field.
        let mut inputs: duet_mining_inputs = unsafe { zeroed() };
        inputs.struct_size = size_of::<duet_mining_inputs>();
        inputs.x = x.view();
        inputs.y = y.view();
        inputs.labels_x = labels(labels_x);
        inputs.labels_y = labels(labels_y);
        inputs.metric = metric as c_int;
        let rows = duet_mining_hard_side {
            struct_size: size_of::<duet_mining_hard_side>(),
            positive_index: written(&mut positives, DUET_DTYPE_I32),
            negative_index: written(&mut negatives, DUET_DTYPE_I32),
            positive_distance: written(&mut far, DUET_DTYPE_F32),
            negative_distance: written(&mut near, DUET_DTYPE_F32),
        };
        let outputs = duet_mining_hard_outputs {
            struct_size: size_of::<duet_mining_hard_outputs>(),
            rows: &rows,
            columns: null(),
        };
        let mut bytes = 0;
        // Safety: every view is of a slice that outlives the call, with its own length.
        check(unsafe { duet_mining_workspace(self.raw, &inputs, &mut bytes) })?;
        let workspace = self.workspace(bytes);
        check(unsafe { duet_mining_hard(self.raw, &inputs, &outputs, workspace) })?;
        let found = |index: i32, distance: f32| usize::try_from(index).ok().map(|index| (index, distance));
        Ok((0..anchors)
            .map(|i| Hardest { positive: found(positives[i], far[i]), negative: found(negatives[i], near[i]) })
            .collect())
    }

    fn workspace(&mut self, bytes: usize) -> duet_workspace {
        let lines = (bytes + size_of::<Line>() - 1) / size_of::<Line>();
        if self.scratch.len() < lines {
            self.scratch.resize(lines, Line { _bytes: [0; 64] });
        }
        duet_workspace { data: self.scratch.as_mut_ptr() as *mut c_void, bytes }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        unsafe { duet_context_destroy(self.raw) }
    }
}

/// "major.minor.patch" of the library that is loaded.
pub fn version() -> &'static str {
    unsafe { text_of(duet_version()) }
}

/// The SIMD target that this processor runs.
pub fn simd_target() -> &'static str {
    unsafe { text_of(duet_simd_target()) }
}

/// A workspace is aligned to 64 bytes.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

fn labels(values: &[i32]) -> duet_const_vector {
    let data = values.as_ptr() as *const c_void;
    duet_const_vector { data, size: values.len() as i64, dtype: DUET_DTYPE_I32, reserved: 0 }
}

fn written<T>(values: &mut [T], dtype: c_int) -> duet_vector {
    duet_vector { data: values.as_mut_ptr() as *mut c_void, size: values.len() as i64, dtype, reserved: 0 }
}

fn check(status: c_int) -> Result<(), Error> {
    if status == DUET_STATUS_OK {
        return Ok(());
    }
    // Safety: both give a text that is never null; the second is this thread's until its next failure.
    let text = unsafe { CStr::from_ptr(duet_last_error()) }.to_string_lossy().into_owned();
    Err(Error { status: unsafe { text_of(duet_status_name(status)) }, text })
}

/// Safety: of texts that live as long as the library.
unsafe fn text_of(text: *const c_char) -> &'static str {
    CStr::from_ptr(text).to_str().unwrap_or("not UTF-8")
}
