//! Every format and kernel against plain arithmetic on the numbers that the file's definition gives.

use ream_rand::Stream;

use super::integer::{self, Panel};
use super::{Format, LANES, Matrix, QuantError, Rows, TILE, Tile, product};
use crate::gguf::half::f32_to_f16;
use crate::gguf::{Kind, dequantize};

/// A tensor of random blocks with scales of ordinary size.
fn random_tensor(kind: Kind, outputs: usize, inputs: usize, seed: u64) -> Vec<u8> {
    let mut rng = Stream::new(seed, "tensor").at(0);
    let (block, bytes) = kind.block();
    let mut out = Vec::new();
    for _ in 0..outputs * inputs / block {
        let mut one: Vec<u8> = (0..bytes).map(|_| (rng.uniform() * 256.0) as u8).collect();
        let mut put = |at: usize, x: f32| one[at..at + 2].copy_from_slice(&f32_to_f16(x).to_le_bytes());
        let (a, b) = (rng.uniform() as f32 * 0.02 + 0.001, rng.uniform() as f32 * 0.2 - 0.1);
        match kind {
            Kind::F32 => one = b.to_le_bytes().to_vec(),
            Kind::F16 => put(0, b),
            Kind::Bf16 => one = b.to_le_bytes()[2..].to_vec(),
            Kind::Q4_0 | Kind::Q8_0 => put(0, a),
            Kind::Q4_1 => {
                put(0, a);
                put(2, b);
            }
            Kind::Q4K => {
                put(0, a / 32.0);
                put(2, b.abs() / 32.0);
            }
            Kind::Q6K => put(208, a / 32.0),
        }
        out.extend(one);
    }
    out
}

fn numbers(kind: Kind, bytes: &[u8], n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    dequantize(kind, bytes, &mut out).unwrap();
    out
}

fn random_rows(rows: usize, inputs: usize) -> Rows {
    let mut rng = Stream::new(5, "rows").at(0);
    let values: Vec<f32> = (0..rows * inputs).map(|i| rng.normal() as f32 * (1 + i % 7) as f32).collect();
    Rows::new(&values, inputs)
}

const SHAPE: (usize, usize) = (37, 512);

#[test]
fn weights_are_the_files_to_the_bit() {
    let (outputs, inputs) = SHAPE;
    for kind in Kind::ALL {
        let bytes = random_tensor(kind, outputs, inputs, 1);
        let wanted = numbers(kind, &bytes, outputs * inputs);
        let matrix = Matrix::new(kind, outputs, inputs, &bytes).unwrap();
        let chosen = matrix.select(&[36, 0, 17]).unwrap();
        let mut row = vec![0.0; inputs];
        for output in 0..outputs {
            matrix.read_row(output, &mut row);
            let wanted = &wanted[output * inputs..(output + 1) * inputs];
            let worst = row.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst == 0.0, "{kind} {output}: {worst}");
        }
        for (to, from) in [36, 0, 17].into_iter().enumerate() {
            chosen.read_row(to, &mut row);
            assert_eq!(row, wanted[from * inputs..(from + 1) * inputs], "{kind}");
        }
    }
}

#[test]
fn products_are_those_of_plain_arithmetic_and_do_not_depend_on_their_neighbours() {
    let (outputs, inputs) = SHAPE;
    let x = random_rows(11, inputs);
    for kind in Kind::ALL {
        let bytes = random_tensor(kind, outputs, inputs, 2);
        let weights = numbers(kind, &bytes, outputs * inputs);
        let matrix = Matrix::new(kind, outputs, inputs, &bytes).unwrap();
        for panel in 0..matrix.panels() {
            let mut alone = Vec::new();
            for row in 0..11 {
                let mut tile: Tile = [[0.0; LANES]; TILE];
                matrix.tile(panel, &x, row, 1, &mut tile);
                alone.push(tile[0]);
                let values: Vec<f64> = seen(&matrix, &x, row);
                for lane in 0..LANES.min(outputs - panel * LANES) {
                    let w = &weights[(panel * LANES + lane) * inputs..][..inputs];
                    let terms = w.iter().zip(&values).map(|(w, x)| f64::from(*w) * x);
                    let (sum, size) = terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
                    let error = (f64::from(tile[0][lane]) - sum).abs();
                    assert!(
                        error <= 2e-6 * size,
                        "{kind} panel {panel} row {row} lane {lane}: {error} of {size}"
                    );
                }
            }
            for count in 1..=TILE {
                for first in 0..=11 - count {
                    let mut tile: Tile = [[0.0; LANES]; TILE];
                    matrix.tile(panel, &x, first, count, &mut tile);
                    assert_eq!(
                        tile[..count],
                        alone[first..first + count],
                        "{kind}: {count} rows from {first}"
                    );
                }
            }
        }
    }
}

/// The activations as the kernel sees them.
fn seen(matrix: &Matrix, x: &Rows, row: usize) -> Vec<f64> {
    if matrix.format().layout().is_none() {
        return x.values()[row * x.inputs()..(row + 1) * x.inputs()].iter().map(|x| f64::from(*x)).collect();
    }
    let codes = x.codes(row, 1);
    codes.codes.iter().enumerate().map(|(i, c)| f64::from(*c) * f64::from(codes.scales[i / 32])).collect()
}

/// All kernels this machine can run give the portable one's sums: the integers are the same, the floats are rounded once less
/// where multiply and add are fused.
#[test]
fn kernels_agree_with_the_portable_one() {
    let (outputs, inputs) = (LANES, 1024);
    let x = random_rows(TILE, inputs);
    for kind in [Kind::Q4_0, Kind::Q4_1, Kind::Q8_0, Kind::Q4K, Kind::Q6K] {
        let bytes = random_tensor(kind, outputs, inputs, 3);
        let matrix = Matrix::new(kind, outputs, inputs, &bytes).unwrap();
        let format = matrix.format();
        let mut kernels = vec![integer::kernel(format)];
        #[cfg(target_arch = "x86_64")]
        match super::x86::isa() {
            super::x86::Isa::Vnni => {
                kernels.extend([super::x86::vnni_kernel(format), super::x86::avx2_kernel(format)]);
            }
            super::x86::Isa::Avx2 => kernels.push(super::x86::avx2_kernel(format)),
            super::x86::Isa::None => {}
        }
        let panel = Panel { bytes: matrix.bytes(), blocks: inputs / 32 };
        let mut wanted: Tile = [[0.0; LANES]; TILE];
        integer::portable(format)(panel, x.codes(0, TILE), TILE, &mut wanted);
        for (which, kernel) in kernels.into_iter().enumerate() {
            let mut got: Tile = [[0.0; LANES]; TILE];
            kernel(panel, x.codes(0, TILE), TILE, &mut got);
            for (got, wanted) in got.as_flattened().iter().zip(wanted.as_flattened()) {
                assert!(
                    (got - wanted).abs() <= 1e-4 + 1e-5 * wanted.abs(),
                    "{kind}, kernel {which}: {got} {wanted}"
                );
            }
        }
    }
}

#[test]
fn extreme_codes_do_not_overflow() {
    let inputs = 64;
    let x = Rows::new(&[[127.0_f32; 32], [-127.0; 32]].concat(), inputs);
    for (kind, code) in [(Kind::Q8_0, 0x80_u8), (Kind::Q8_0, 0x7f), (Kind::Q6K, 0), (Kind::Q6K, 0xff)] {
        let (outputs, inputs) = (LANES, if kind == Kind::Q6K { 256 } else { inputs });
        let x = if kind == Kind::Q6K { Rows::new(&vec![127.0; 256], 256) } else { x.clone() };
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            let mut block = vec![code; kind.block().1];
            let at = if kind == Kind::Q6K { 208 } else { 0 };
            block[at..at + 2].copy_from_slice(&f32_to_f16(1.0).to_le_bytes());
            block
        })
        .take(outputs * inputs / kind.block().0)
        .flatten()
        .collect();
        let matrix = Matrix::new(kind, outputs, inputs, &bytes).unwrap();
        let mut row = vec![0.0; inputs];
        matrix.read_row(0, &mut row);
        let wanted: f32 = row.iter().zip(x.values()).map(|(w, x)| w * x).sum();
        let format = matrix.format();
        let panel = Panel { bytes: matrix.bytes(), blocks: inputs / 32 };
        let mut kernels = vec![integer::kernel(format), integer::portable(format)];
        #[cfg(target_arch = "x86_64")]
        if super::x86::isa() != super::x86::Isa::None {
            kernels.push(super::x86::avx2_kernel(format));
        }
        for kernel in kernels {
            let mut tile: Tile = [[0.0; LANES]; TILE];
            kernel(panel, x.codes(0, 1), 1, &mut tile);
            assert_eq!(tile[0], [wanted; LANES], "{kind} {code:#x}");
        }
    }
}

#[test]
fn own_weights_keep_eight_bits() {
    let (outputs, inputs) = (20, 70);
    let weights: Vec<f32> = (0..outputs * inputs).map(|i| libm::cosf(i as f32) * 0.3).collect();
    let matrix = Matrix::quantize(&weights, outputs, inputs).unwrap();
    assert_eq!(matrix.format(), Format::Q8);
    let mut row = vec![0.0; inputs];
    for output in 0..outputs {
        matrix.read_row(output, &mut row);
        for (a, b) in row.iter().zip(&weights[output * inputs..]) {
            assert!((a - b).abs() <= 0.3 / 127.0, "{a} {b}");
        }
    }
}

#[test]
fn own_weights_keep_four_bits_of_their_range() {
    let (outputs, inputs) = (20, 70);
    // Far from zero, so that the minimum matters; the last block of a row is not full.
    let weights: Vec<f32> = (0..outputs * inputs).map(|i| 2.0 + libm::cosf(i as f32) * 0.3).collect();
    let matrix = Matrix::quantize_4(&weights, outputs, inputs).unwrap();
    assert_eq!(matrix.format(), Format::Q4Min);
    let mut row = vec![0.0; inputs];
    for output in 0..outputs {
        matrix.read_row(output, &mut row);
        for (a, b) in row.iter().zip(&weights[output * inputs..]) {
            // Half a step, and what half precision does to the minimum.
            assert!((a - b).abs() <= 0.6 / 30.0 + 2e-3, "{a} {b}");
        }
    }
    let even = Matrix::quantize_4(&[0.25; 33], 1, 33).unwrap();
    let mut row = vec![0.0; 33];
    even.read_row(0, &mut row);
    assert_eq!(row, [0.25; 33]);
    let mut sums = vec![0.0; outputs];
    let x: Vec<f32> = (0..inputs).map(|i| libm::sinf(i as f32)).collect();
    product(&matrix, &Rows::new(&x, inputs), &mut sums);
    for (output, sum) in sums.iter().enumerate() {
        let plain: f32 = weights[output * inputs..].iter().zip(&x).map(|(w, x)| w * x).sum();
        assert!((sum - plain).abs() < 0.3, "{sum} {plain}");
    }
}

#[test]
fn what_is_no_matrix_is_refused() {
    let bytes = random_tensor(Kind::Q4_1, 16, 64, 4);
    let refused = |kind, outputs, inputs, bytes: &[u8]| {
        Matrix::new(kind, outputs, inputs, bytes).unwrap_err().to_string()
    };
    assert_eq!(refused(Kind::Q4_1, 16, 64, &bytes[1..]), "a Q4_1 matrix of 16 x 64 takes 640 bytes, not 639");
    assert_eq!(
        refused(Kind::Q4_1, 16, 33, &bytes),
        "a Q4_1 matrix needs rows of a multiple of 32 numbers, not 33"
    );
    assert!(refused(Kind::F32, usize::MAX / 2, 4, &bytes).contains("too large"));
    let mut broken = bytes.clone();
    broken[20 * 2 * 3..20 * 2 * 3 + 2].copy_from_slice(&0x7c00_u16.to_le_bytes());
    assert_eq!(refused(Kind::Q4_1, 16, 64, &broken), "row 3 has a weight or a scale that is not finite");
    assert_eq!(
        refused(Kind::F32, 1, 1, &f32::NAN.to_le_bytes()),
        "row 0 has a weight or a scale that is not finite"
    );
    for quantize in [Matrix::quantize, Matrix::quantize_4] {
        for bad in [f32::INFINITY, f32::NAN, 1e30] {
            assert!(matches!(quantize(&[1.0, bad], 2, 1), Err(QuantError::NotFinite { output: 1 })), "{bad}");
        }
        assert!(matches!(quantize(&[1.0; 3], 2, 2), Err(QuantError::TooLarge { .. })));
    }
    let matrix = Matrix::new(Kind::Q4_1, 16, 64, &bytes).unwrap();
    assert_eq!(matrix.select(&[16]).unwrap_err().to_string(), "row 16 is asked for, the matrix has 16");
}
