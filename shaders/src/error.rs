//! What can be wrong with what a caller hands in, and with the machine.
//!
//! An error's text is the problem; its `fix` is what to do about it.

/// What is wrong with one template; the error around it says which one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VectorProblem {
    /// Another number of values than the gallery's dimensions.
    #[error("has {found} values where {dims} are expected")]
    Length {
        /// Number of values found.
        found: usize,
        /// Number of values expected.
        dims: usize,
    },
    /// A NaN or an infinity.
    #[error("has the value {value} at element {element}")]
    NotFinite {
        /// Position within the template, from 0.
        element: usize,
        /// The value found there.
        value: f32,
    },
    /// A Euclidean norm that is not 1 within the tolerance of 0.001, such as that of the zero vector.
    #[error("has norm {norm:.6}, not 1 within 0.001")]
    Norm {
        /// The Euclidean norm found.
        norm: f64,
    },
}

impl VectorProblem {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Length { .. } => "use a template of the gallery's model version",
            Self::NotFinite { .. } => "encode the photograph again",
            Self::Norm { .. } => "divide it by its norm, and reject a zero vector",
        }
    }
}

/// What a caller, or for the last two variants an operator, has to put right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A template width that no kernel is written for.
    #[error("templates of {dims} dimensions are not supported")]
    Dims {
        /// The width asked for.
        dims: usize,
    },
    /// Gallery values that do not make whole rows.
    #[error("a gallery of {values} values does not divide into rows of {dims}")]
    GalleryLength {
        /// Number of values passed.
        values: usize,
        /// Dimensions of one row.
        dims: usize,
    },
    /// More rows than a row number can name.
    #[error("a gallery of {rows} rows is too large")]
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
    #[error("job {job}: k is {k}")]
    JobK {
        /// Index of the job within the batch.
        job: usize,
        /// The number of hits asked for.
        k: usize,
    },
    /// A floor that is no number.
    #[error("job {job} has a floor of NaN")]
    JobFloor {
        /// Index of the job within the batch.
        job: usize,
    },
    /// A gallery without a single row to find.
    #[error("job {job}: its gallery is empty")]
    JobGalleryEmpty {
        /// Index of the job within the batch.
        job: usize,
    },
    /// `Choice::Gpu` where there is no adapter that works.
    #[error("no usable GPU adapter ({detail})")]
    NoAdapter {
        /// What was looked at and why it did not do.
        detail: String,
    },
    /// A CPU kernel that this processor cannot run.
    #[error("the {kernel} kernel needs instructions that this processor lacks; it runs {available}")]
    Kernel {
        /// The kernel asked for.
        kernel: &'static str,
        /// Names of the kernels that work here.
        available: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Dims { .. } => "use a width that is a multiple of 4 from 128 to 1024",
            Self::GalleryLength { .. } => "pass rows x dims values",
            Self::GalleryRows { .. } => "split the gallery into shards of less than 2^32 rows",
            Self::Row { problem, .. } | Self::Probe { problem } | Self::JobProbe { problem, .. } => problem.fix(),
            Self::JobK { .. } => "ask for 1 to 64 hits",
            Self::JobFloor { .. } => "give the lowest score of interest, or negative infinity",
            Self::JobGalleryEmpty { .. } => "answer 'nobody' without a search, or build the gallery first",
            Self::NoAdapter { .. } => {
                "install a Vulkan driver (on Debian mesa-vulkan-drivers brings a software one) or choose the CPU engine"
            }
            Self::Kernel { .. } => "choose a kernel that this processor runs",
        }
    }
}
