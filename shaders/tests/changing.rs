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

/// The rows of a gallery as they are wanted: some of those it has, in their order, and others behind them.
fn wanted(gallery: &Gallery, leave: &[u32], added: &[f32]) -> Vec<f32> {
    let there = (0..gallery.rows() as u32).filter(|row| gallery.contains(*row) && !leave.contains(row));
    there.flat_map(|row| gallery.row(row as usize)).chain(added).copied().collect()
}

/// P5: which replica shares, and which has read everything anew, is not to be seen.
#[test]
fn a_gallery_turned_into_another_answers_as_one_built_anew() {
    let mut random = Random(35);
    for (dims, rows) in [(128, 0), (128, 40), (512, 400)] {
        let mut turned = gallery(dims, random.units(rows, dims));
        for turn in 0..40 {
            let there: Vec<u32> = (0..turned.rows() as u32).filter(|row| turned.contains(*row)).collect();
            let leave: Vec<u32> = there.iter().copied().filter(|_| random.below(20) == 0).collect();
            let count = random.below(4);
            let mut added = random.units(count, dims);
            // Somebody whose template is there already: of equal scores the one who comes first is to be found first.
            if let Some(row) = there.first().filter(|_| turn % 5 == 0) {
                added.extend_from_slice(turned.row(*row as usize));
            }
            let values = wanted(&turned, &leave, &added);
            let (next, numbers) = turned.turned_into(&values).expect("good templates");
            assert!(numbers.is_sorted_by(|a, b| a < b) && next.rows_live() == numbers.len());
            let found = numbers.iter().flat_map(|row| next.row(*row as usize));
            assert!(found.eq(&values), "the templates that were wanted, in their order");
            assert!(numbers.iter().all(|row| next.contains(*row)));
            turned = Arc::new(next);
        }
        agree("turned into another", &[Job::new(turned.clone(), random.units(5, dims), 64)]);
    }
}

#[test]
fn a_gallery_turned_into_another_shares_what_stays_and_does_not_wear_out() {
    let mut random = Random(36);
    let base = gallery(512, random.units(400, 512));
    let share = |a: &Gallery, b: &Gallery| a.row(0).as_ptr() == b.row(0).as_ptr();
    let (same, _) = base.turned_into(&wanted(&base, &[], &[])).expect("good templates");
    assert!(share(&same, &base) && same.id() != base.id());
    let (one_more, numbers) = base.turned_into(&wanted(&base, &[5, 7], &random.unit(512))).expect("good templates");
    assert!(share(&one_more, &base), "the large block was copied");
    assert_eq!((numbers[4], numbers[5], numbers[6], numbers[398]), (4, 6, 8, 400));

    let many: Vec<u32> = (1..=101).collect();
    let (packed, numbers) = base.turned_into(&wanted(&base, &many, &[])).expect("good templates");
    assert!(!share(&packed, &base), "a quarter of it would be gaps");
    assert_eq!((packed.rows(), numbers[298]), (299, 298));
    let others = random.units(400, 512);
    assert!(!share(&base.turned_into(&others).expect("good templates").0, &base));

    let (mut turned, mut shared) = (base.clone(), 0);
    for _ in 0..40 {
        let next = turned.turned_into(&wanted(&turned, &[], &random.units(64, 512))).expect("good templates").0;
        shared += u32::from(share(&next, &turned));
        turned = Arc::new(next);
    }
    assert_eq!((shared, turned.rows()), (38, 400 + 40 * 64), "every so often a gallery of many parts is packed anew");

    let mut bad = wanted(&base, &[3], &random.units(2, 512));
    bad[400 * 512] = f32::INFINITY;
    let error = base.turned_into(&bad).expect_err("an infinity");
    assert!(matches!(error, Error::Row { row: 400, .. }), "{error}");
    let short = &wanted(&base, &[3], &random.units(2, 512))[..401 * 512 - 1];
    let error = base.turned_into(short).expect_err("a length");
    assert_eq!(error, Error::GalleryLength { values: 401 * 512 - 1, dims: 512 });
}
