use ream_rand::Stream;

use super::kernel::{Adjacent, Call, Segment, sets_of_this_machine};
use super::*;

fn numbers(len: usize, step: u64) -> Vec<f32> {
    let mut rng = Stream::new(1, "convolution").at(step);
    (0..len).map(|_| rng.normal() as f32).collect()
}

#[expect(clippy::too_many_arguments, reason = "the numbers of a convolution")]
fn geometry(
    batch: usize,
    size: [usize; 2],
    channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    groups: usize,
) -> Geometry {
    let out_size = [0, 1].map(|i| (size[i] + 2 * padding - kernel[i]) / stride + 1);
    Geometry {
        batch,
        size,
        channels,
        out_size,
        out_channels,
        kernel,
        stride: [stride; 2],
        padding: [padding; 2],
        groups,
    }
}

/// Result and both gradients by the definition: `visit(x index, w index, y index)` for every product of the sum.
fn reference(g: &Geometry, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
    let mut y = vec![0.0; g.output_len()];
    let mut dx = vec![0.0; g.input_len()];
    let mut dw = vec![0.0; g.weight_len()];
    let (inner, outer) = (g.channels / g.groups, g.out_channels / g.groups);
    for n in 0..g.batch {
        for oy in 0..g.out_size[0] {
            for ox in 0..g.out_size[1] {
                for o in 0..g.out_channels {
                    let yi = ((n * g.out_size[0] + oy) * g.out_size[1] + ox) * g.out_channels + o;
                    for ky in 0..g.kernel[0] {
                        for kx in 0..g.kernel[1] {
                            let (py, px) = (oy * g.stride[0] + ky, ox * g.stride[1] + kx);
                            if py < g.padding[0] || px < g.padding[1] {
                                continue;
                            }
                            let (iy, ix) = (py - g.padding[0], px - g.padding[1]);
                            if iy >= g.size[0] || ix >= g.size[1] {
                                continue;
                            }
                            for c in 0..inner {
                                let xi = ((n * g.size[0] + iy) * g.size[1] + ix) * g.channels
                                    + o / outer * inner
                                    + c;
                                let wi = ((o * g.kernel[0] + ky) * g.kernel[1] + kx) * inner + c;
                                y[yi] += f64::from(x[xi]) * f64::from(w[wi]);
                                dx[xi] += f64::from(dy[yi]) * f64::from(w[wi]);
                                dw[wi] += f64::from(dy[yi]) * f64::from(x[xi]);
                            }
                        }
                    }
                }
            }
        }
    }
    [y, dx, dw]
}

fn close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1.0_f64, |a, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= 1e-5 * scale, "{what}, element {i}: {g} wanted {w}");
    }
}

fn check(g: &Geometry) {
    let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.weight_len(), 2), numbers(g.output_len(), 3));
    let [y, dx, dw] = reference(g, &x, &w, &dy);
    close(&format!("result of {g:?}"), &g.forward(&x, &w, None), &y);
    close(&format!("gradient of the input of {g:?}"), &g.input_gradient(&dy, &w, None), &dx);
    close(&format!("gradient of the weights of {g:?}"), &g.weight_gradient(&x, &dy), &dw);
    let bias = numbers(g.out_channels, 4);
    let with: Vec<f64> = y.iter().enumerate().map(|(i, y)| y + f64::from(bias[i % bias.len()])).collect();
    close(&format!("result with bias of {g:?}"), &g.forward(&x, &w, Some(&bias)), &with);
    let bias = numbers(g.channels, 5);
    let with: Vec<f64> = dx.iter().enumerate().map(|(i, y)| y + f64::from(bias[i % bias.len()])).collect();
    close(&format!("transposed with bias of {g:?}"), &g.input_gradient(&dy, &w, Some(&bias)), &with);
}

#[test]
fn every_kernel_stride_and_padding_agrees_with_the_definition() {
    for kernel in [1, 3, 4, 5, 7] {
        for stride in [1, 2, 3] {
            for padding in [0, 1, 2] {
                check(&geometry(2, [9, 11], 3, 5, [kernel; 2], stride, padding, 1));
            }
        }
    }
}

#[test]
fn every_width_of_channels_agrees_with_the_definition() {
    for channels in [1, 2, 3, 16, 17, 33, 64] {
        for out in [1, 3, 16, 20, 33, 48, 65, 80] {
            check(&geometry(1, [5, 7], channels, out, [3, 3], 1, 1, 1));
            check(&geometry(1, [6, 5], channels, out, [3, 3], 2, 1, 1));
        }
    }
}

#[test]
fn groups_and_depthwise_filters_agree_with_the_definition() {
    for (channels, out, groups) in [(4, 4, 2), (6, 9, 3), (8, 8, 8), (35, 35, 35), (4, 8, 4), (36, 40, 2)] {
        for (kernel, stride, padding) in [(1, 1, 0), (3, 1, 1), (3, 2, 1), (4, 2, 1), (5, 3, 2)] {
            check(&geometry(3, [7, 8], channels, out, [kernel; 2], stride, padding, groups));
        }
    }
}

#[test]
fn odd_shapes_agree_with_the_definition() {
    // Widths around the tiles' heights, more images than chunks, kernels that are not square or as large as the image.
    for width in [1, 2, 13, 14, 15, 28, 29] {
        check(&geometry(1, [3, width], 4, 33, [3, 3], 1, 1, 1));
    }
    check(&geometry(37, [4, 4], 3, 18, [3, 3], 1, 1, 1));
    check(&geometry(2, [6, 9], 5, 6, [1, 4], 1, 0, 1));
    check(&geometry(2, [6, 9], 5, 6, [5, 2], 2, 0, 1));
    check(&geometry(2, [5, 5], 3, 4, [5, 5], 1, 0, 1));
    check(&geometry(2, [5, 5], 3, 4, [2, 2], 3, 2, 1));
    check(&geometry(1, [70, 90], 24, 2, [3, 3], 1, 1, 1));
    check(&Geometry { padding: [0, 3], out_size: [1, 20], ..geometry(2, [1, 20], 6, 6, [1, 4], 1, 0, 6) });
    check(&Geometry { padding: [0, 3], out_size: [1, 20], ..geometry(2, [1, 20], 6, 4, [1, 4], 1, 0, 1) });
}

#[test]
fn few_channels_from_many_agree_with_the_definition() {
    for (channels, out) in [(16, 1), (16, 3), (32, 4), (48, 2), (24, 1)] {
        for (kernel, stride, padding) in [(3, 1, 1), (1, 2, 0), (4, 2, 1), (3, 3, 0)] {
            check(&geometry(2, [7, 9], channels, out, [kernel; 2], stride, padding, 1));
            check(&geometry(2, [7, 9], out, channels, [kernel; 2], stride, padding, 1));
        }
    }
}

#[test]
fn an_empty_batch_has_empty_results() {
    let g = geometry(0, [5, 5], 3, 4, [3, 3], 1, 1, 1);
    assert!(g.forward(&[], &vec![1.0; g.weight_len()], None).is_empty());
    assert!(g.input_gradient(&[], &vec![1.0; g.weight_len()], None).is_empty());
    assert!(g.weight_gradient(&[], &[]).iter().all(|x| *x == 0.0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for g in [
        geometry(40, [9, 9], 8, 24, [3, 3], 2, 1, 1),
        geometry(2, [40, 40], 8, 3, [3, 3], 1, 1, 1),
        geometry(5, [15, 15], 16, 16, [3, 3], 1, 1, 16),
        geometry(5, [15, 15], 16, 16, [3, 3], 1, 1, 2),
    ] {
        let (x, w, dy) = (numbers(g.input_len(), 1), numbers(g.weight_len(), 2), numbers(g.output_len(), 3));
        let run = |threads| {
            crate::set_threads(threads);
            [g.forward(&x, &w, None), g.input_gradient(&dy, &w, None), g.weight_gradient(&x, &dy)]
                .map(|b| b.to_vec())
        };
        let one = run(1);
        assert!(one == run(3), "{g:?}");
    }
}

#[test]
fn every_instruction_set_agrees_with_plain_loops() {
    let (segments, depth) = ([Segment { a: 3, b: 0 }, Segment { a: 200, b: 700 }], 9);
    let (a, b) = (numbers(500, 1), numbers(1500, 2));
    for kernels in sets_of_this_machine() {
        for (first, columns) in [(0, 1), (0, 16), (0, 21), (0, 32), (0, 48), (0, 45)] {
            for rows in 1..=14 {
                for (adjacent, a_step) in [(Adjacent::Steps, 7), (Adjacent::Rows, 15)] {
                    for start in 0..3 {
                        let bias = numbers(64, 4);
                        let before = numbers(rows * 50, 5);
                        let mut c = before.clone();
                        for (panel, vectors) in kernels.panels(columns) {
                            kernels.tiles(vectors, rows, |row, height| {
                                let offset = if adjacent == Adjacent::Steps { row * a_step } else { row };
                                let call = Call {
                                    segments: &segments,
                                    depth,
                                    a: a[offset..].as_ptr(),
                                    a_step,
                                    b: b[first + panel..].as_ptr(),
                                    b_row: 50,
                                    c: c[row * 50 + panel..].as_mut_ptr(),
                                    c_row: 50,
                                    columns: (columns - panel).min(16 * vectors),
                                    add: start == 2,
                                    bias: if start == 1 { bias[panel..].as_ptr() } else { std::ptr::null() },
                                };
                                // SAFETY: the slices above are longer than the largest index.
                                unsafe { kernels.run(adjacent, height, vectors, &call) };
                            });
                        }
                        for i in 0..rows {
                            for j in 0..50 {
                                if j >= columns {
                                    assert_eq!(c[i * 50 + j], before[i * 50 + j], "beyond the tile");
                                    continue;
                                }
                                let (row, step) =
                                    if adjacent == Adjacent::Steps { (a_step, 1) } else { (1, a_step) };
                                let mut want = f64::from([0.0, bias[j], before[i * 50 + j]][start]);
                                for s in &segments {
                                    for p in 0..depth {
                                        want += f64::from(a[s.a + i * row + p * step])
                                            * f64::from(b[s.b + p * 50 + j]);
                                    }
                                }
                                let got = f64::from(c[i * 50 + j]);
                                assert!(
                                    (got - want).abs() < 1e-5,
                                    "{adjacent:?} {columns} {rows}: {got} {want}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
