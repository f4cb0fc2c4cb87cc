//! Distances between two small sets of embeddings, and of each row of the first the hardest positive and negative.
use duet::{Context, Metric, Rows};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let audio = [1., 0., 0., 0.9, 0.1, 0., 0., 1., 0., 0., 0., 1.];
    let visual = [1., 0.2, 0., 0.5, 0.5, 0., 0., 0.8, 0.3, 0.1, 0., 1., 0., 0.4, 0.6, 0.7, 0., 0.3];
    let (audio_labels, visual_labels) = ([0, 0, 1, 2], [0, 0, 1, 2, 2, 1]);
    let (x, y) = (Rows::new(&audio, 3).ok_or("rows of 3")?, Rows::new(&visual, 3).ok_or("rows of 3")?);
    let mut context = Context::new(0)?;
    println!("duet {}, {}, {} threads", duet::version(), duet::simd_target(), context.threads());
    let distances = context.distances(x, y, Metric::Euclidean)?;
    let hardest = context.hardest(x, &audio_labels, y, &visual_labels, Metric::Euclidean)?;
    for (i, (row, of_row)) in distances.chunks(y.count()).zip(&hardest).enumerate() {
        println!("audio {i}: {row:.3?}");
        println!("  farthest positive {:?}, nearest negative {:?}", of_row.positive, of_row.negative);
    }
    Ok(())
}
