//! Products of a panel of integer codes with rows of 8-bit activations: the kernel of this machine.

use super::format::constants;
use super::rows::Codes;
use super::{BLOCK, Format, Tile};

/// A panel: its blocks as the format's layout says.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) blocks: usize,
}

/// A kernel: `rows` rows (at most [`super::TILE`]) through one panel.
type Kernel = fn(Panel<'_>, Codes<'_>, usize, &mut Tile);

/// Computes the tile with the best kernel of this machine.
pub(super) fn tile(format: Format, bytes: &[u8], x: Codes<'_>, blocks: usize, rows: usize, out: &mut Tile) {
    let Some(layout) = format.layout() else { return };
    let panel = Panel { bytes, blocks };
    // The kernels read without further checks.
    assert!(x.codes.len() == rows * blocks * BLOCK && x.scales.len() == rows * blocks);
    assert!(x.sums.len() == rows * blocks && x.halves.len() == 2 * rows * blocks);
    assert!(bytes.len() >= layout.panel_bytes(blocks));
    kernel(format)(panel, x, rows, out);
}

pub(super) fn kernel(format: Format) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    match super::x86::isa() {
        super::x86::Isa::Vnni => return super::x86::vnni_kernel(format),
        super::x86::Isa::Avx2 => return super::x86::avx2_kernel(format),
        super::x86::Isa::None => {}
    }
    #[cfg(target_arch = "aarch64")]
    return super::neon::kernel(format);
    #[cfg(not(target_arch = "aarch64"))]
    portable(format)
}

/// The kernel in plain loops, which the others are held against.
#[cfg_attr(target_arch = "aarch64", expect(dead_code, reason = "tests hold the kernels against it"))]
pub(super) fn portable(format: Format) -> Kernel {
    use super::portable::tile;
    match format {
        Format::Q4 => tile::<constants::Q4>,
        Format::Q4Min => tile::<constants::Q4Min>,
        Format::Q4MinWide => tile::<constants::Q4MinWide>,
        Format::Q6Wide => tile::<constants::Q6Wide>,
        Format::Q8 | Format::F16 | Format::Bf16 | Format::F32 => tile::<constants::Q8>,
    }
}
