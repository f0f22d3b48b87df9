//! How much memory something takes: counted where a binary lets [`Counting`] count, and asked of the system.
//!
//! A clone is measured, because nobody can tell from outside which of the allocations of a process are whose. What a
//! clone does not show is room that is reserved and not used; that shows in what the process takes altogether.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// On the heap, of this thread's making. Other threads live through worlds of their own.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting. For binaries: `#[global_allocator] static ALLOCATOR: Counting = Counting;`
pub struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: isize) {
    // A thread that ends frees what it had after its counter is gone.
    let _ = BYTES.try_with(|all| all.set(all.get() + bytes));
}

/// What it has on the heap; 0 where nobody counts.
pub fn bytes_of<T>(make: impl FnOnce() -> T) -> usize {
    let before = BYTES.get();
    let made = make();
    let bytes = BYTES.get() - before;
    drop(made);
    bytes.max(0) as usize
}

/// What this process takes of the machine's memory; `None`: the system does not say.
pub fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
