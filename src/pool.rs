//! Buffers that nobody holds while nothing flows.
//!
//! A relay needs large buffers to be cheap and no buffers to be small. So a buffer is taken from the thread's free list when bytes
//! are there, and put back as soon as they are passed on: an idle session holds none.

use std::cell::RefCell;

/// Octets of a buffer.
pub const SIZE: usize = 64 * 1024;
/// Buffers that a thread keeps for the next user; more are freed.
const KEPT: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with the bytes from `start` to `end` in it. One of the usual size goes back to a free list when it is dropped.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer.
    pub fn take() -> Self {
        let bytes = FREE.with_borrow_mut(Vec::pop);
        Self {
            bytes: bytes.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()),
            start: 0,
            end: 0,
        }
    }

    /// A buffer of its own, with these bytes in it and no room for more.
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self {
            start: 0,
            end: bytes.len(),
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// What is in it.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where more can be put.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Says that `count` octets were put into [`Buffer::spare`].
    pub fn put(&mut self, count: usize) {
        self.end += count;
    }

    /// Says that `count` octets of [`Buffer::filled`] were used.
    pub fn used(&mut self, count: usize) {
        self.start += count;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT && bytes.len() == SIZE {
                free.push(bytes);
            }
        });
    }
}
