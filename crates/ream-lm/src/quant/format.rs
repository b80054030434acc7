//! How the weights of a panel lie in memory.

use super::LANES;

/// The formats that a [`Matrix`](super::Matrix) computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 4-bit codes `w = d (q - 8)`, a 16-bit scale for 32 inputs.
    Q4,
    /// 4-bit codes `w = d q + m`, 16-bit scale and minimum for 32 inputs.
    Q4Min,
    /// As [`Format::Q4Min`] with 32-bit scale and minimum: what the two-level scales of Q4_K multiply out to.
    Q4MinWide,
    /// 8-bit codes `w = d q`, a 16-bit scale for 32 inputs.
    Q8,
    /// 6-bit codes `w = d (q - 32)` in bytes, a 32-bit scale for 16 inputs.
    Q6Wide,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Single precision.
    F32,
}

impl Format {
    /// The layout of an integer format; none for the floats.
    pub(crate) fn layout(self) -> Option<Layout> {
        Some(match self {
            Self::Q4 => constants::Q4::LAYOUT,
            Self::Q4Min => constants::Q4Min::LAYOUT,
            Self::Q4MinWide => constants::Q4MinWide::LAYOUT,
            Self::Q8 => constants::Q8::LAYOUT,
            Self::Q6Wide => constants::Q6Wide::LAYOUT,
            Self::F16 | Self::Bf16 | Self::F32 => return None,
        })
    }

    /// Bytes of a float format's number; none for the integers.
    pub(crate) fn float_bytes(self) -> Option<usize> {
        match self {
            Self::F16 | Self::Bf16 => Some(2),
            Self::F32 => Some(4),
            _ => None,
        }
    }
}

/// Layout of a block (32 inputs) of a panel (16 outputs): scales and codes, so that a panel is read from its beginning to its end.
///
/// Scales: sixteen of the first kind, then sixteen more (minima, or the scales of the second half of the inputs) if there are any.
/// Codes are unsigned: group `g` holds, for each output in turn, the codes of inputs `4 g..4 g + 4`, 64 bytes; with nibbles,
/// byte `i` of line `l` holds group `l` in its low and group `l + 4` in its high half. Lines of 64 bytes stay whole: two blocks whose scales
/// fill half a line share one, their codes follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) nibbles: bool,
    pub(crate) mins: bool,
    pub(crate) wide: bool,
    /// A scale for every 16 inputs rather than 32.
    pub(crate) halves: bool,
    /// The code of weight 0.
    pub(crate) offset: i32,
}

impl Layout {
    /// Bytes of a block's scales.
    pub(crate) const fn scale_bytes(self) -> usize {
        let one = LANES * if self.wide { 4 } else { 2 };
        if self.mins || self.halves { 2 * one } else { one }
    }

    /// Bytes of a block's codes.
    pub(crate) const fn code_bytes(self) -> usize {
        if self.nibbles { 256 } else { 512 }
    }

    /// Blocks that share a line of scales.
    const fn together(self) -> usize {
        if self.scale_bytes() < 64 { 64 / self.scale_bytes() } else { 1 }
    }

    /// Bytes of such blocks.
    const fn group_bytes(self) -> usize {
        self.together() * (self.scale_bytes() + self.code_bytes())
    }

    /// Where the scales of a block begin in its panel.
    pub(crate) const fn scales_at(self, block: usize) -> usize {
        block / self.together() * self.group_bytes() + block % self.together() * self.scale_bytes()
    }

    /// Where the codes of a block begin in its panel.
    pub(crate) const fn codes_at(self, block: usize) -> usize {
        let scales = self.together() * self.scale_bytes();
        block / self.together() * self.group_bytes() + scales + block % self.together() * self.code_bytes()
    }

    /// Bytes of a panel.
    pub(crate) const fn panel_bytes(self, blocks: usize) -> usize {
        blocks.div_ceil(self.together()) * self.group_bytes()
    }
}

/// A format as constants, for kernels that are compiled for each.
pub(crate) trait Constants {
    const LAYOUT: Layout;
}

/// The integer formats.
pub(crate) mod constants {
    use super::{Constants, Layout};

    macro_rules! constants {
        ($($name:ident = $format:expr;)*) => {
            $(
                pub(crate) struct $name;
                impl Constants for $name {
                    const LAYOUT: Layout = $format;
                }
            )*
        };
    }

    constants! {
        Q4 = Layout { nibbles: true, mins: false, wide: false, halves: false, offset: 8 };
        Q4Min = Layout { nibbles: true, mins: true, wide: false, halves: false, offset: 0 };
        Q4MinWide = Layout { nibbles: true, mins: true, wide: true, halves: false, offset: 0 };
        Q8 = Layout { nibbles: false, mins: false, wide: false, halves: false, offset: 128 };
        Q6Wide = Layout { nibbles: false, mins: false, wide: true, halves: true, offset: 32 };
    }
}
