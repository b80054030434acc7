//! One loop, compiled for every instruction set: [`vectorised!`](vectorised) makes a function whose body is compiled for AVX-512, AVX2 and the
//! baseline, and picks one at run time. Bodies are plain loops over slices that the compiler vectorises.
//!
//! ```
//! ream_simd::vectorised! {
//!     /// `y += factor x`.
//!     fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
//!         // Without fused multiply-adds the bits are the same on every machine.
//!         let _ = FMA;
//!         y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
//!     }
//! }
//! let mut y = [1.0, 2.0];
//! add_scaled(&mut y, 2.0, &[10.0, 20.0]);
//! assert_eq!(y, [21.0, 42.0]);
//! ```

use std::sync::OnceLock;

/// The instruction sets that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F, VL, BW, DQ.
    Avx512,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// What every machine of this architecture has.
    Portable,
}

/// The instruction set that the kernels use on this machine.
#[must_use]
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    let avx512 = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq");
    match (avx512 && avx2, avx2) {
        (true, _) => Isa::Avx512,
        (false, true) => Isa::Avx2,
        _ => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Defines a function compiled for every [`Isa`]; `FMA` is a constant that says whether the set has fused multiply-adds.
#[macro_export]
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }
            match $crate::isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `isa` found these features on this machine.
                $crate::Isa::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => body::<false>($($arg),*),
            }
        }
    };
}
