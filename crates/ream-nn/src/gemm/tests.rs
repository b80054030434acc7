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
                let round = |x: &f32| f32::from_bits(pack::bf16(*x) << 16);
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
                plan.tiles(&kernels, Some(&packed));
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
                gemm(&mut c, n, Mat::new(&a, m, k), Mat::new(&b, k, n), Start::Zero)
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
    let mut c = vec![7.0; 15];
    gemm(&mut c[1..], 5, Mat::new(&a, 3, 2), Mat::new(&b, 2, 3), Start::Zero);
    let want = reference(Mat::new(&a, 3, 2), Mat::new(&b, 2, 3));
    for i in 0..3 {
        close(&c[1 + i * 5..4 + i * 5], &want[i * 3..i * 3 + 3], 1e-5);
    }
    assert!([0, 4, 5, 9, 10, 14].iter().all(|&i| c[i] == 7.0));
}

#[test]
fn bfloat16_rounds_to_nearest_even() {
    let round = |x: f32| f32::from_bits(pack::bf16(x) << 16);
    assert_eq!(round(1.0 + 1.0 / 256.0), 1.0);
    assert_eq!(round(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
    assert_eq!(round(-3.0), -3.0);
    assert!(round(f32::NAN).is_nan());
    assert_eq!(round(f32::INFINITY), f32::INFINITY);
}
