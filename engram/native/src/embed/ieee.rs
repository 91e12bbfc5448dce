//! The thread's floating-point settings: the IEEE 754 default while we compute, the caller's own before and after.
//!
//! Another library of the process may round otherwise or flush subnormal numbers to zero (FTZ, DAZ), which would change
//! bits. The settings are MXCSR on x86-64 and FPCR on aarch64; on any other CPU they are left as they are.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

/// Round to nearest even, keep subnormals, trap nothing.
#[cfg(target_arch = "x86_64")]
const DEFAULT: Settings = 0x1f80;
#[cfg(not(target_arch = "x86_64"))]
const DEFAULT: Settings = 0;

#[cfg(target_arch = "x86_64")]
pub type Settings = u32;
#[cfg(not(target_arch = "x86_64"))]
pub type Settings = u64;

/// Do `work` under the default settings; whatever the caller had is back afterwards, after a panic too.
pub fn by_default<T>(work: impl FnOnce() -> T) -> T {
    let _restore = Restore(settings());
    set(DEFAULT);
    apart(work)
}

/// Not inlined, so that no arithmetic of `work` can be moved before the settings that it relies on.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

struct Restore(Settings);

impl Drop for Restore {
    fn drop(&mut self) {
        set(self.0);
    }
}

/// The calling thread's settings.
#[cfg(target_arch = "x86_64")]
pub fn settings() -> Settings {
    let mut settings = 0;
    // SAFETY: every x86-64 has MXCSR, and it is stored into a u32 of ours.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut settings, options(nostack)) };
    settings
}

#[cfg(target_arch = "x86_64")]
pub fn set(settings: Settings) {
    // SAFETY: it comes from `settings`, or has defined bits only; it masks every trap.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const settings, options(nostack)) };
}

#[cfg(target_arch = "aarch64")]
pub fn settings() -> Settings {
    let settings;
    // SAFETY: every aarch64 may read FPCR.
    unsafe { asm!("mrs {}, fpcr", out(reg) settings, options(nostack)) };
    settings
}

#[cfg(target_arch = "aarch64")]
pub fn set(settings: Settings) {
    // SAFETY: every aarch64 may write FPCR, and it comes from `settings` or is all zero.
    unsafe { asm!("msr fpcr, {}", in(reg) settings, options(nostack)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn settings() -> Settings {
    DEFAULT
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn set(_: Settings) {}
