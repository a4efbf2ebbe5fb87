//! People are added to and removed from galleries: searches find just who is there, and running ones are not disturbed.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use shaders::{Error, Gallery, Job, VectorProblem};

use support::{Random, agree, gallery};

#[test]
fn a_changed_gallery_answers_as_one_built_anew() {
    let mut random = Random(31);
    for (dims, rows) in [(128, 0), (128, 30), (256, 64), (512, 400)] {
        let mut changed = gallery(dims, random.units(rows, dims));
        let mut there: BTreeSet<u32> = (0..rows as u32).collect();
        let mut values: Vec<Vec<f32>> = (0..rows).map(|row| changed.row(row).to_vec()).collect();
        for turn in 0..150 {
            if there.is_empty() || turn % 3 != 0 {
                let count = if turn % 7 == 0 { 1 + random.below(90) } else { 1 };
                let added = random.units(count, dims);
                for row in added.chunks(dims) {
                    there.insert(values.len() as u32);
                    values.push(row.to_vec());
                }
                changed = Arc::new(changed.with_added(&added).expect("good templates"));
            } else {
                let row = *there.iter().nth(random.below(there.len())).expect("somebody");
                there.remove(&row);
                changed = Arc::new(changed.with_removed(row).expect("somebody who is there"));
                assert_eq!(changed.with_removed(row).expect_err("gone"), Error::RowAbsent { row, rows: values.len() });
            }
            assert_eq!((changed.rows(), changed.rows_live()), (values.len(), there.len()));
        }
        for (row, expected) in values.iter().enumerate() {
            assert_eq!(changed.row(row), expected);
            assert_eq!(changed.contains(row as u32), there.contains(&(row as u32)));
        }
        // Those who were removed would be the best answers to themselves.
        let mut probes: Vec<f32> = random.units(5, dims);
        let removed = (0..values.len()).filter(|row| !there.contains(&(*row as u32))).take(4);
        probes.extend(removed.flat_map(|row| values[row].clone()));
        for k in [1, 5, 64] {
            let job = Job::new(changed.clone(), probes.clone(), k);
            agree("a changed gallery", std::slice::from_ref(&job));
        }
        let (compacted, numbers) = changed.compacted();
        assert_eq!(numbers, there.iter().copied().collect::<Vec<u32>>());
        assert!(numbers.iter().enumerate().all(|(row, number)| compacted.row(row) == values[*number as usize]));
        agree("compacted", &[Job::new(Arc::new(compacted), probes, 5)]);
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut random = Random(32);
    let before = gallery(128, random.units(70, 128));
    let template = random.unit(128);
    let job = Job::new(before.clone(), template.clone(), 3);
    let added = before.with_added(&template).expect("a good template");
    let removed = before.with_removed(3).expect("a row");
    assert_eq!((before.rows(), added.rows(), removed.rows_live()), (70, 71, 69));
    assert!(before.contains(3) && !before.contains(70) && added.contains(70));
    assert!(before.id() != added.id() && added.id() != removed.id());
    agree("the snapshot", &[job]);
    agree("with somebody added", &[Job::new(Arc::new(added), template, 1)]);
}

#[test]
fn what_cannot_be_added_or_removed_is_refused_with_its_index() {
    let mut random = Random(33);
    let gallery = gallery(128, random.units(5, 128));
    let mut rows = random.units(3, 128);
    rows[2 * 128 + 7] = f32::NAN;
    let error = gallery.with_added(&rows).expect_err("a NaN");
    assert!(matches!(error, Error::Row { row: 2, problem: VectorProblem::NotFinite { element: 7, .. } }), "{error}");
    assert_eq!(gallery.with_added(&rows[1..]).expect_err("a length"), Error::GalleryLength { values: 383, dims: 128 });
    assert_eq!(gallery.with_removed(5).expect_err("a row"), Error::RowAbsent { row: 5, rows: 5 });
}

/// One person more must not cost a new packing of everybody: the new gallery shares the large block with the old one.
#[test]
fn an_addition_shares_what_did_not_change() {
    let mut random = Random(34);
    let base = gallery(512, random.units(400, 512));
    let mut changed: Gallery = base.with_added(&random.unit(512)).expect("a good template");
    let large = base.row(0).as_ptr();
    for row in 0..100 {
        changed = changed.with_added(&random.unit(512)).expect("a good template");
        changed = changed.with_removed(row).expect("a row");
        assert_eq!(changed.row(0).as_ptr(), large, "the large block was copied");
    }
    assert_eq!((changed.rows(), changed.rows_live()), (501, 401));
}
