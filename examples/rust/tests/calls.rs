//! The safe calls: known answers, nothing at all, what is refused.
use duet::{Context, Hardest, Metric, Rows};

const X: [f32; 4] = [0., 0., 3., 4.];
const Y: [f32; 6] = [3., 4., 0., 1., 6., 8.];

fn rows(values: &[f32]) -> Rows {
    Rows::new(values, 2).unwrap()
}

#[test]
fn distances_that_are_whole_numbers_are_exact() {
    for threads in [1, 2] {
        let mut context = Context::new(threads).unwrap();
        assert_eq!(context.threads(), threads);
        let squared = context.distances(rows(&X), rows(&Y), Metric::SquaredEuclidean).unwrap();
        assert_eq!(squared, [25., 1., 100., 0., 18., 25.]);
        let euclidean = context.distances(rows(&X), rows(&Y), Metric::Euclidean).unwrap();
        assert_eq!((euclidean[0], euclidean[2], euclidean[3]), (5., 10., 0.));
    }
}

#[test]
fn the_hardest_are_the_farthest_of_the_class_and_the_nearest_of_another() {
    let mut context = Context::new(1).unwrap();
    let mined = context.hardest(rows(&X), &[0, 1], rows(&Y), &[0, 1, 0], Metric::SquaredEuclidean).unwrap();
    assert_eq!(mined[0], Hardest { positive: Some((2, 100.)), negative: Some((1, 1.)) });
    assert_eq!(mined[1], Hardest { positive: Some((1, 18.)), negative: Some((0, 0.)) });
    let unlabelled = context.hardest(rows(&X), &[-1, 2], rows(&Y), &[0, 1, 0], Metric::SquaredEuclidean).unwrap();
    assert_eq!(unlabelled[0], Hardest { positive: None, negative: None });
    assert_eq!(unlabelled[1], Hardest { positive: None, negative: Some((0, 0.)) });
}

#[test]
fn empty_sets_have_no_distances() {
    let mut context = Context::new(1).unwrap();
    assert!(context.distances(rows(&[]), rows(&Y), Metric::Cosine).unwrap().is_empty());
    assert!(context.hardest(rows(&[]), &[], rows(&Y), &[0, 1, 0], Metric::Cosine).unwrap().is_empty());
    let alone = context.hardest(rows(&X), &[0, 1], rows(&[]), &[], Metric::Cosine).unwrap();
    assert_eq!(alone, [Hardest { positive: None, negative: None }; 2]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    assert!(Rows::new(&X, 3).is_none());
    assert!(Rows::new(&X, 0).is_none());
    let mut context = Context::new(1).unwrap();
    let widths = context.distances(rows(&X), Rows::new(&Y, 3).unwrap(), Metric::Euclidean).unwrap_err();
    assert_eq!(widths.status, "DUET_STATUS_INVALID_ARGUMENT");
    assert!(widths.text.contains("inputs.y") && widths.text.contains("expected"), "{widths}");
    let labels = context.hardest(rows(&X), &[0], rows(&Y), &[0, 1, 0], Metric::Euclidean).unwrap_err();
    assert!(labels.text.contains("inputs.labels_x"), "{labels}");
    let threads = Context::new(-1).err().unwrap();
    assert!(threads.text.contains("threads"), "{threads}");
}

#[test]
fn a_context_goes_from_thread_to_thread() {
    let mut context = Context::new(2).unwrap();
    let here = context.distances(rows(&X), rows(&Y), Metric::Cosine).unwrap();
    let there = std::thread::spawn(move || context.distances(rows(&X), rows(&Y), Metric::Cosine).unwrap());
    assert_eq!(here, there.join().unwrap());
}
