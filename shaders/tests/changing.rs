//! People are added to and removed from galleries: searches find just who is there, and running ones are not disturbed.

mod support;

use std::sync::Arc;

use shaders::{Error, Gallery, Job};

use support::{Random, agree, changed, gallery, wanted};

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut random = Random(32);
    let before = gallery(128, random.units(70, 128));
    let template = random.unit(128);
    let job = Job::new(before.clone(), template.clone(), 3);
    let added = changed(&before, &[], &template);
    let removed = changed(&before, &[3], &[]);
    assert_eq!((before.rows(), added.rows(), removed.rows_live()), (70, 71, 69));
    assert!(before.contains(3) && !before.contains(70) && added.contains(70) && !removed.contains(3));
    // Somebody who was removed would be the best answer to themselves.
    let gone = Job::new(removed, before.row(3).to_vec(), 2);
    agree("the snapshot", &[job]);
    agree("with somebody added", &[Job::new(added, template, 1)]);
    agree("without somebody", &[gone]);
}

/// One person more must not cost a new packing of everybody: the new gallery shares the large block with the old one.
#[test]
fn a_change_shares_what_stays() {
    let mut random = Random(34);
    let base = gallery(512, random.units(400, 512));
    let large = base.row(0).as_ptr();
    let mut turned = base;
    for row in 1..=60 {
        turned = changed(&turned, &[row], &random.unit(512));
        assert_eq!(turned.row(0).as_ptr(), large, "the large block was copied");
    }
    assert_eq!((turned.rows(), turned.rows_live()), (460, 400));
}

/// P5: an answer does not show whether a replica's gallery shares blocks with an earlier one or was built anew.
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
            // Somebody whose template is there already. Of equal scores the earlier row must be found first.
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
    assert!(share(&same, &base));
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
