use super::*;
use ream_rand::Stream;

fn numbers(len: usize, step: u64) -> Vec<f32> {
    let mut rng = Stream::new(1, "gemm").at(step);
    (0..len).map(|_| rng.normal() as f32).collect()
}

fn reference(a: Mat<'_>, b: Mat<'_>) -> Vec<f64> {
    let mut c = vec![0.0; a.rows * b.columns];
    for i in 0..a.rows {
        for j in 0..b.columns {
            c[i * b.columns + j] = (0..a.columns)
                .map(|p| {
                    f64::from(a.data[i * a.row + p * a.column]) * f64::from(b.data[p * b.row + j * b.column])
                })
                .sum();
        }
    }
    c
}

fn close(got: &[f32], want: &[f64], tolerance: f64) {
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance * (1.0 + w.abs()), "element {i}: {g} wanted {w}");
    }
}

const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 200, 300),
    (3, 17, 5),
    (4, 100, 33),
    (8, 48, 16),
    (13, 49, 257),
    (17, 31, 64),
    (33, 95, 300),
    (64, 16, 512),
    (97, 65, 130),
    (100, 144, 600),
    (7, 500, 1),
];

#[test]
fn every_layout_agrees_with_the_reference() {
    for (m, n, k) in SHAPES {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let ways = [
            (Mat::new(&a, m, k), Mat::new(&b, k, n)),
            (Mat::new(&a, k, m).t(), Mat::new(&b, k, n)),
            (Mat::new(&a, m, k), Mat::new(&b, n, k).t()),
            (Mat::new(&a, k, m).t(), Mat::new(&b, n, k).t()),
        ];
        for (a, b) in ways {
            let want = reference(a, b);
            let mut c = vec![f32::NAN; m * n];
            gemm(&mut c, n, a, b, Start::Zero);
            close(&c, &want, 1e-4);
            gemm_serial(&mut c, n, a, b, Start::Keep, Precision::F32);
            close(&c, &want.iter().map(|w| 2.0 * w).collect::<Vec<_>>(), 1e-4);
            let bias = numbers(n, 3);
            gemm(&mut c, n, a, b, Start::Bias(&bias));
            let with: Vec<f64> = want.iter().enumerate().map(|(i, w)| w + f64::from(bias[i % n])).collect();
            close(&c, &with, 1e-4);
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_reference() {
    for half in [false, true] {
        for kernels in kernel::sets_of_this_machine(half) {
            for (m, n, k) in SHAPES {
                let (a, b) = (numbers(m * k, 4), numbers(k * n, 5));
                let round = |x: &f32| f32::from_bits(pairs::bf16(*x) << 16);
                let (ra, rb): (Vec<f32>, Vec<f32>) =
                    (a.iter().map(round).collect(), b.iter().map(round).collect());
                let want = if half {
                    reference(Mat::new(&ra, m, k), Mat::new(&rb, n, k).t())
                } else {
                    reference(Mat::new(&a, m, k), Mat::new(&b, n, k).t())
                };
                let mut c = vec![0.0; m * n];
                let (ma, mb) = (Mat::new(&a, m, k), Mat::new(&b, n, k).t());
                let shared = Shared::new(&mut c);
                let plan = Plan {
                    m,
                    n,
                    k,
                    a: ma,
                    b: mb,
                    c: shared,
                    c_row: n,
                    start: Start::Zero,
                    parallel: false,
                    half,
                };
                let mut packed = vec![0.0; plan.packed_b_len(&kernels)];
                plan.pack_b(&kernels, &mut packed);
                plan.tiles(&kernels, Panels::Packed(&packed));
                close(&c, &want, 1e-4);
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (m, n, k) = (300, 200, 700);
    let (a, b) = (numbers(m * k, 6), numbers(k * n, 7));
    for precision in [Precision::F32, Precision::Bf16] {
        let run = |threads| {
            threads::set_threads(threads);
            let mut c = vec![0.0; m * n];
            with_precision(precision, || {
                gemm(&mut c, n, Mat::new(&a, m, k), Mat::new(&b, k, n), Start::Zero);
            });
            c
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(4));
    }
}

#[test]
fn rows_of_a_wider_matrix_are_left_alone() {
    let (a, b) = (numbers(6, 8), numbers(6, 9));
    let mut c = [7.0; 15];
    gemm(&mut c[1..], 5, Mat::new(&a, 3, 2), Mat::new(&b, 2, 3), Start::Zero);
    let want = reference(Mat::new(&a, 3, 2), Mat::new(&b, 2, 3));
    for i in 0..3 {
        close(&c[1 + i * 5..4 + i * 5], &want[i * 3..i * 3 + 3], 1e-5);
    }
    assert!([0, 4, 5, 9, 10, 14].iter().all(|&i| c[i] == 7.0));
}

#[test]
fn bfloat16_rounds_to_nearest_even() {
    let round = |x: f32| f32::from_bits(pairs::bf16(x) << 16);
    assert_eq!(round(1.0 + 1.0 / 256.0), 1.0);
    assert_eq!(round(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
    assert_eq!(round(-3.0), -3.0);
    assert!(round(f32::NAN).is_nan());
    assert_eq!(round(f32::INFINITY), f32::INFINITY);
}

/// A matrix in every kind of strides: rows or columns contiguous, with and without gaps, and neither.
fn layouts(data: &[f32], rows: usize, columns: usize) -> Vec<Mat<'_>> {
    vec![
        Mat::new(data, rows, columns),
        Mat::new(data, columns, rows).t(),
        Mat::strided(data, rows, columns, columns + 3, 1),
        Mat::strided(data, columns, rows, rows + 5, 1).t(),
        Mat::strided(data, rows, columns, 2 * columns + 1, 2),
        Mat::strided(data, columns, rows, 3 * rows, 3).t(),
    ]
}

/// The step (or pair of steps) `p` of a block at a place of an operand, by definition.
fn packed_step(at: impl Fn(usize) -> f32, k0: usize, kc: usize, p: usize, half: bool) -> u32 {
    let step = |k: usize| if k < kc { at(k0 + k) } else { 0.0 };
    if half { pairs::bf16(step(2 * p)) | (pairs::bf16(step(2 * p + 1)) << 16) } else { step(p).to_bits() }
}

/// Numbers among which are some that rounding treats apart.
fn numbers_and_edges(len: usize, step: u64) -> Vec<f32> {
    let mut data = numbers(len, step);
    let edges = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 3.0, -0.0, 1.0 + 1.0 / 256.0];
    data.iter_mut().step_by(11).zip(edges.iter().cycle()).for_each(|(x, edge)| *x = *edge);
    data
}

#[test]
fn packed_panels_of_b_are_what_the_kernels_expect_for_all_strides_and_sizes() {
    for half in [false, true] {
        for kernels in kernel::sets_of_this_machine(half) {
            for (n, k) in [(1, 1), (5, 3), (16, 2), (17, 31), (48, 32), (65, 33), (47, 191), (100, 192)] {
                let data = numbers_and_edges(3 * (n + 5) * (k + 5), 10);
                for b in layouts(&data, k, n) {
                    for (k0, first) in [(0, 0), (k / 3, n.saturating_sub(1) / kernels.width * kernels.width)]
                    {
                        let (kc, width) = (k - k0, kernels.width.min((n - first).next_multiple_of(16)));
                        let depth = kernels.packed_depth(kc);
                        let mut out = vec![7.0; width * depth];
                        pack::panel(&mut out, b, k0, kc, first, width, half);
                        for (p, j) in (0..depth).flat_map(|p| (0..width).map(move |j| (p, j))) {
                            let at = |k: usize| b.data[k * b.row + (first + j) * b.column];
                            let want = if first + j < n { packed_step(at, k0, kc, p, half) } else { 0 };
                            assert_eq!(out[p * width + j].to_bits(), want, "{half} {n} x {k}: {p} {j}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn packed_rows_of_a_are_what_the_kernels_expect_for_all_strides_and_sizes() {
    for half in [false, true] {
        for kernels in kernel::sets_of_this_machine(half) {
            for (m, k) in [(1, 1), (3, 5), (8, 2), (9, 31), (17, 32), (21, 33), (50, 191), (96, 192)] {
                let data = numbers_and_edges(3 * (m + 5) * (k + 5), 11);
                for a in layouts(&data, m, k) {
                    for (start, k0) in [(0, 0), (m / 3, k / 3)] {
                        let kc = k - k0;
                        let depth = kernels.packed_depth(kc);
                        let mut out = vec![7.0; (m - start) * depth];
                        let mut distances = None;
                        if half {
                            distances = Some(pairs::rows(&mut out, a, start..m, k0, kc));
                        } else {
                            pack::rows(&mut out, a, start..m, k0, kc, &kernels);
                        }
                        for (i, p) in (start..m).flat_map(|i| (0..depth).map(move |p| (i, p))) {
                            let r = i - start;
                            let group = r / kernels.height * kernels.height;
                            let place = match distances {
                                Some((row, step)) => r * row + p * step,
                                None => group * depth + p * kernels.height.min(m - start - group) + r - group,
                            };
                            let at = |k: usize| a.data[i * a.row + k * a.column];
                            let want = packed_step(at, k0, kc, p, half);
                            assert_eq!(out[place].to_bits(), want, "{half} {m} x {k}: {i} {p}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn it_changes_no_bit_who_packs_b() {
    let (m, n, k) = (70, 130, 3 * KC + 5);
    let (a, b) = (numbers(m * k, 12), numbers(k * n, 13));
    for half in [false, true] {
        for kernels in kernel::sets_of_this_machine(half) {
            let run = |by_job: bool| {
                let mut c = vec![0.0; m * n];
                let plan = Plan {
                    m,
                    n,
                    k,
                    a: Mat::new(&a, k, m).t(),
                    b: Mat::new(&b, k, n),
                    c: Shared::new(&mut c),
                    c_row: n,
                    start: Start::Zero,
                    parallel: false,
                    half,
                };
                let mut packed = vec![0.0; plan.packed_b_len(&kernels)];
                plan.pack_b(&kernels, &mut packed);
                plan.tiles(&kernels, if by_job { Panels::ByJob } else { Panels::Packed(&packed) });
                c
            };
            assert_eq!(run(false), run(true));
        }
    }
}
