//! Which kernel runs here. All give the same bits; they differ in speed alone.
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
use super::simd::{Arrays, Lanes};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};

/// Every name that can be asked for, on any machine.
pub const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "scalar"];

/// A kernel that this CPU can run.
#[derive(Clone, Copy)]
pub enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    Scalar(Arrays),
}

/// Work that is generic over the kernel and gives a result.
pub trait Call {
    type Output;
    fn call<L: Lanes>(self, lanes: L) -> Self::Output;
}

impl Kernel {
    /// Those of this CPU, fastest first; the last, `scalar`, is always there.
    pub fn available() -> Vec<Self> {
        let kernels = [
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            Some(Self::Neon(Neon)),
            Some(Self::Scalar(Arrays)),
        ];
        kernels.into_iter().flatten().collect()
    }

    /// The fastest, or the one of this name; the error says which there are.
    pub fn choose(name: Option<&str>) -> Result<Self, String> {
        let available = Self::available();
        let Some(name) = name else {
            return Ok(available[0]);
        };
        let here = available
            .iter()
            .map(|kernel| kernel.name())
            .collect::<Vec<_>>()
            .join(", ");
        let chosen = available.into_iter().find(|kernel| kernel.name() == name);
        chosen.ok_or_else(|| match NAMES.contains(&name) {
            true => format!("this CPU cannot run the kernel {name:?}; it can run {here}"),
            false => format!("there is no kernel {name:?}; this CPU can run {here}"),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Scalar(_) => "scalar",
        }
    }

    /// Make the generic call with this kernel.
    pub fn call<C: Call>(self, call: C) -> C::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(lanes) => call.call(lanes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(lanes) => call.call(lanes),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(lanes) => call.call(lanes),
            Self::Scalar(lanes) => call.call(lanes),
        }
    }
}
