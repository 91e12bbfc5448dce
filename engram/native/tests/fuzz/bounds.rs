//! How much memory a decoder takes for an input: the most that this thread held at once.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn came(bytes: usize) {
    // A thread that ends has no counter left, and is not measured.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

fn went(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        came(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        went(layout.size());
        unsafe { System.dealloc(at, layout) }
    }
}

/// Run `work` on an input of `size` bytes; panic if it held more than `times` as many at once, and 256 KiB.
pub fn bounded<T>(size: usize, times: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    MOST.set(before);
    let result = work();
    let took = MOST.get() - before;
    let most = times * size + (256 << 10);
    assert!(
        took <= most,
        "{took} bytes of memory for {size} bytes of input, at most {most}"
    );
    result
}

#[test]
fn memory_out_of_proportion_is_seen() {
    let greedy = || bounded(10, 2, || drop(Vec::<u8>::with_capacity(1 << 20)));
    assert!(std::panic::catch_unwind(greedy).is_err());
    bounded(10, 2, || drop(Vec::<u8>::with_capacity(1 << 10)));
}
