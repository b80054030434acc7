//! Rows of a table by number.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::tensor::Tensor;

/// Rows `ids` of `table` (`[rows, d]`), shape `to` followed by `d`.
///
/// # Errors
/// When an id has no row, or the ids do not fill the shape.
pub fn embedding(table: &Tensor, ids: &[u32], to: &[usize]) -> Result<Tensor> {
    let &[rows, d] = table.shape() else {
        return shape("embedding", format!("a table [rows, d] is needed, got {:?}", table.shape()));
    };
    if to.iter().product::<usize>() != ids.len() {
        return shape("embedding", format!("{} ids do not fill the shape {to:?}", ids.len()));
    }
    if let Some((i, bad)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= rows) {
        return shape("embedding", format!("id {bad} at position {i}, the table has {rows} rows"));
    }
    let mut out = Buffer::scratch(ids.len() * d);
    for (row, id) in out.chunks_exact_mut(d.max(1)).zip(ids) {
        let at = *id as usize * d;
        row.copy_from_slice(&table.data()[at..at + d]);
    }
    let mut result = to.to_vec();
    result.push(d);
    let (parent, ids) = (table.clone(), ids.to_vec());
    Ok(Tensor::custom("embedding", &result, out, &[table], move |grad, sink| {
        if let Some(sum) = sink.accumulate(&parent) {
            for (g, id) in grad.chunks_exact(d.max(1)).zip(&ids) {
                let at = *id as usize * d;
                crate::kernels::add_rows(&mut sum[at..at + d], g);
            }
        }
        Ok(())
    }))
}
