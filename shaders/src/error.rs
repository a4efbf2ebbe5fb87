//! What can be wrong with what a caller hands in, and with the machine.

/// What is wrong with one template; the error around it says which one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VectorProblem {
    /// Another number of values than the gallery's dimensions.
    #[error("has {found} values where {dims} are expected: use a template of the gallery's model version")]
    Length {
        /// Number of values found.
        found: usize,
        /// Number of values expected.
        dims: usize,
    },
    /// A NaN or an infinity.
    #[error("has the value {value} at element {element}: encode the photograph again")]
    NotFinite {
        /// Position within the template, from 0.
        element: usize,
        /// The value found there.
        value: f32,
    },
    /// A Euclidean norm that is not 1 within the tolerance of 0.001, such as that of the zero vector.
    #[error("has norm {norm:.6}, not 1 within 0.001: divide it by its norm, and reject a zero vector")]
    Norm {
        /// The Euclidean norm found.
        norm: f64,
    },
}

/// What a caller, or for the last two variants an operator, has to put right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A template width that no kernel is written for.
    #[error("templates of {dims} dimensions are not supported: use a multiple of 4 from 128 to 1024")]
    Dims {
        /// The width asked for.
        dims: usize,
    },
    /// Gallery values that do not make whole rows.
    #[error("a gallery of {values} values does not divide into rows of {dims}: pass rows x dims values")]
    GalleryLength {
        /// Number of values passed.
        values: usize,
        /// Dimensions of one row.
        dims: usize,
    },
    /// More rows than a row number can name.
    #[error("a gallery of {rows} rows is too large: split it into shards of less than 2^32 rows")]
    GalleryRows {
        /// Number of rows passed.
        rows: usize,
    },
    /// A bad gallery row.
    #[error("gallery row {row} {problem}")]
    Row {
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        problem: VectorProblem,
    },
    /// A bad template given to `check_probe`.
    #[error("probe {problem}")]
    Probe {
        /// What is wrong with it.
        problem: VectorProblem,
    },
    /// A bad probe within a batch.
    #[error("job {job}: probe {probe} {problem}")]
    JobProbe {
        /// Index of the job within the batch.
        job: usize,
        /// Index of the probe within the job.
        probe: usize,
        /// What is wrong with it.
        problem: VectorProblem,
    },
    /// A number of hits that cannot be asked for.
    #[error("job {job}: k is {k}: ask for 1 to 64 hits")]
    JobK {
        /// Index of the job within the batch.
        job: usize,
        /// The number of hits asked for.
        k: usize,
    },
    /// A floor that is no number.
    #[error("job {job} has a floor of NaN: give the lowest score of interest, or negative infinity")]
    JobFloor {
        /// Index of the job within the batch.
        job: usize,
    },
    /// A gallery without a single row to find.
    #[error("job {job}: its gallery is empty: answer 'nobody' without a search, or build the gallery first")]
    JobGalleryEmpty {
        /// Index of the job within the batch.
        job: usize,
    },
    /// `Choice::Gpu` where there is no adapter that works.
    #[error(
        "no usable GPU adapter ({detail}): install a Vulkan driver (on Debian mesa-vulkan-drivers brings a software \
         one) or choose the CPU engine"
    )]
    NoAdapter {
        /// What was looked at and why it did not do.
        detail: String,
    },
    /// A CPU kernel that this processor cannot run.
    #[error("the {kernel} kernel needs instructions that this processor lacks: choose one of {available}")]
    Kernel {
        /// The kernel asked for.
        kernel: &'static str,
        /// Names of the kernels that work here.
        available: String,
    },
}
