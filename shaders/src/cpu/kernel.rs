//! The sets of CPU kernels, and which of them a processor runs.

/// A set of CPU kernels. They differ in speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// x86-64 with AVX-512 F, BW and VNNI: two 512-bit registers of rows by twelve probes.
    Avx512,
    /// x86-64 with AVX2 and FMA: two 256-bit registers of rows by four probes.
    Avx2,
    /// AArch64, where the portable code compiles to NEON.
    Neon,
    Portable,
}

impl Kernel {
    /// The kernels that this processor can run, fastest first; never empty.
    pub fn available() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vnni")
            {
                kernels.push(Kernel::Avx512);
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                kernels.push(Kernel::Avx2);
            }
        }
        kernels.push(if cfg!(target_arch = "aarch64") { Kernel::Neon } else { Kernel::Portable });
        kernels
    }

    /// The name used in descriptions and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Avx512 => "avx512",
            Kernel::Avx2 => "avx2",
            Kernel::Neon => "neon",
            Kernel::Portable => "portable",
        }
    }
}
