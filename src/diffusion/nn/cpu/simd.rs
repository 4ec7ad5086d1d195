//! Vectors of f32 as wide as the machine has them, chosen once at run time.
//!
//! A [`Kernel`] is written once over [`Simd`] and compiled three times: AVX-512, AVX2 with FMA, and the portable
//! form, which is plain arrays (NEON takes its place on aarch64). A value of a [`Simd`] type is the proof that the
//! machine has the instructions, which makes its methods safe. Every function on the way from `run` to an intrinsic
//! must be `#[inline(always)]`, and none may be a closure: an intrinsic only becomes one instruction inside a function
//! that has the feature, and is a slow call elsewhere.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads in the innermost loops")]
#![allow(clippy::inline_always, reason = "see the module's first lines")]

use std::sync::LazyLock;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Rows that one call of [`tile`] computes.
pub const ROWS: usize = 8;
/// Lanes of the widest vector.
pub const MAX_LANES: usize = 16;
/// Columns of the widest panel.
pub const MAX_WIDTH: usize = 3 * MAX_LANES;

/// Arithmetic on vectors of f32.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector.
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;
    /// Whether there are 32 registers (else 16).
    const MANY_REGISTERS: bool;
    /// Vectors side by side in a full panel: what fills the registers with sums.
    const VECTORS: usize = if Self::MANY_REGISTERS { 3 } else { 2 };
    /// Columns of a full panel.
    const WIDTH: usize = Self::VECTORS * Self::LANES;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `LANES` elements must be readable at `from`.
    unsafe fn load_ptr(self, from: *const f32) -> Self::V;
    /// # Safety
    /// `LANES` elements must be writable at `to`.
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` when one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` when one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `x · 2^n`, where `n_magic` holds the whole number `n` as `n + 1.5 · 2^23`; 2^n must be a normal number.
    fn scale_by_power(self, x: Self::V, n_magic: Self::V) -> Self::V;
    /// The even and the odd elements of `a` followed by `b`.
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// `x v0 v1 …`: the lanes moved up by one.
    fn shift_up(self, v: Self::V, x: f32) -> Self::V;
    /// `v1 v2 … x`: the lanes moved down by one.
    fn shift_down(self, v: Self::V, x: f32) -> Self::V;
    /// `LANES` half-precision numbers, widened.
    fn load_f16(self, from: &[f16]) -> Self::V;
    /// `a0 b0 a1 b1 …`, as two vectors.
    fn zip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);

    /// The first `LANES` elements of `from`.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        let from = &from[..Self::LANES];
        // Sound: the slice has LANES elements.
        unsafe { self.load_ptr(from.as_ptr()) }
    }

    /// Writes the first `LANES` elements of `to`.
    #[inline(always)]
    fn store(self, to: &mut [f32], v: Self::V) {
        let to = &mut to[..Self::LANES];
        // Sound: the slice has LANES elements.
        unsafe { self.store_ptr(to.as_mut_ptr(), v) }
    }

    /// The sum of the lanes.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut lanes = [0.; MAX_LANES];
        self.store(&mut lanes, v);
        lanes[..Self::LANES].iter().sum()
    }
}

/// Something to compute with the machine's vectors.
pub trait Kernel {
    /// Its result.
    type Output;
    /// Does it. Implementations must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The kinds of vectors that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Arrays of eight, left to the compiler.
    Portable,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Every aarch64 has it.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// Those that this machine has, best last.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                levels.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    levels.push(Self::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        levels
    }

    /// The best of this machine.
    pub fn best() -> Self {
        static BEST: LazyLock<Level> =
            LazyLock::new(|| Level::available().last().copied().unwrap_or(Level::Portable));
        *BEST
    }

    /// Columns of a full panel.
    pub fn width(self) -> usize {
        struct Width;
        impl Kernel for Width {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::WIDTH
            }
        }
        self.run(Width)
    }

    /// Runs `kernel` with vectors of this kind, which must be [`available`](Self::available).
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run(Portable(())),
            // Sound: levels are only made by `available`, after the features were detected.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run(neon::Neon(())),
        }
    }
}

/// `out[i][j] = Σ_p a[i][p] · b[p][j]` for `rows ≤ 8` rows and `vectors ≤ VECTORS` vectors of columns, or `+=` with
/// `accumulate`.
///
/// `a[i][p]` stands at `a[i · a_row + p · a_step]`, `b[p][j]` at `b[p · vectors · LANES + j]`, `out[i][j]` at
/// `out[i · out_row + j]`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the one innermost loop of everything")]
pub fn tile<S: Simd>(
    simd: S,
    depth: usize,
    a: &[f32],
    (a_row, a_step): (usize, usize),
    rows: usize,
    b: &[f32],
    vectors: usize,
    out: &mut [f32],
    out_row: usize,
    accumulate: bool,
) {
    let width = vectors * S::LANES;
    assert!((1..=ROWS).contains(&rows) && (1..=S::VECTORS).contains(&vectors) && depth > 0);
    assert!(a.len() > (rows - 1) * a_row + (depth - 1) * a_step);
    assert!(b.len() >= depth * width && out.len() >= (rows - 1) * out_row + width);
    let (a, b, out) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
    // Sound: the assertions above bound every address below; rows past `rows` repeat the last one and are not stored.
    unsafe {
        if S::MANY_REGISTERS {
            match vectors {
                1 => block::<S, 8, 1>(simd, depth, a, a_row, a_step, rows, b, out, out_row, accumulate),
                2 => block::<S, 8, 2>(simd, depth, a, a_row, a_step, rows, b, out, out_row, accumulate),
                _ => block::<S, 8, 3>(simd, depth, a, a_row, a_step, rows, b, out, out_row, accumulate),
            }
            return;
        }
        for first in (0..rows).step_by(4) {
            let (a, out, rows) = (a.add(first * a_row), out.add(first * out_row), (rows - first).min(4));
            if vectors == 1 {
                block::<S, 4, 1>(simd, depth, a, a_row, a_step, rows, b, out, out_row, accumulate);
            } else {
                block::<S, 4, 2>(simd, depth, a, a_row, a_step, rows, b, out, out_row, accumulate);
            }
        }
    }
}

/// [`tile`] with all sums in registers.
///
/// # Safety
/// As [`tile`] asserts.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the one innermost loop of everything")]
unsafe fn block<S: Simd, const R: usize, const N: usize>(
    simd: S,
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    rows: usize,
    b: *const f32,
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
) {
    unsafe {
        let mut row = [a; R];
        let mut sums = [[simd.splat(0.); N]; R];
        for i in 0..R {
            row[i] = a.wrapping_add(i.min(rows - 1) * a_row);
            if accumulate {
                for j in 0..N {
                    sums[i][j] = simd.load_ptr(out.wrapping_add(i.min(rows - 1) * out_row + j * S::LANES));
                }
            }
        }
        // Wrapping, since the checks of the other kind of pointer arithmetic make debug builds ten times slower.
        let mut at = 0;
        let mut b = b;
        for _ in 0..depth {
            let mut columns = [simd.splat(0.); N];
            for j in 0..N {
                columns[j] = simd.load_ptr(b.wrapping_add(j * S::LANES));
            }
            for i in 0..R {
                let x = simd.splat(*row[i].wrapping_add(at));
                for j in 0..N {
                    sums[i][j] = simd.mul_add(x, columns[j], sums[i][j]);
                }
            }
            at += a_step;
            b = b.wrapping_add(N * S::LANES);
        }
        for i in 0..R {
            if i < rows {
                for j in 0..N {
                    simd.store_ptr(out.wrapping_add(i * out_row + j * S::LANES), sums[i][j]);
                }
            }
        }
    }
}

/// Writes the transposed of `LANES` rows of `LANES` elements, `stride` apart in `from`, to the rows of `to`.
#[inline(always)]
pub fn transpose<S: Simd>(simd: S, from: &[f32], stride: usize, to: &mut [[f32; MAX_LANES]; MAX_LANES]) {
    let zero = simd.splat(0.);
    let mut v = [zero; MAX_LANES];
    for (i, v) in v[..S::LANES].iter_mut().enumerate() {
        *v = simd.load(&from[i * stride..]);
    }
    // Each round interleaves the two halves of the rows; log2(LANES) such perfect shuffles transpose.
    let mut round = 1;
    while round < S::LANES {
        let mut next = [zero; MAX_LANES];
        for i in 0..S::LANES / 2 {
            (next[2 * i], next[2 * i + 1]) = simd.zip(v[i], v[i + S::LANES / 2]);
        }
        v = next;
        round *= 2;
    }
    for (v, to) in v[..S::LANES].iter().zip(to) {
        simd.store(to, *v);
    }
}

const PORTABLE: usize = 8;

/// Arrays of eight.
#[derive(Clone, Copy)]
pub struct Portable(());

impl Portable {
    #[inline(always)]
    fn each(f: impl Fn(usize) -> f32) -> [f32; PORTABLE] {
        std::array::from_fn(f)
    }
}

impl Simd for Portable {
    type V = [f32; PORTABLE];
    const LANES: usize = PORTABLE;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; PORTABLE]
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::V {
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Rounded twice: without the instruction, rounding once is a slow call.
        Self::each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        Self::each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn scale_by_power(self, x: Self::V, n_magic: Self::V) -> Self::V {
        Self::each(|i| x[i] * f32::from_bits((n_magic[i].to_bits() << 23).wrapping_add(1f32.to_bits())))
    }
    #[inline(always)]
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let at = |i: usize| if i < PORTABLE { a[i] } else { b[i - PORTABLE] };
        (Self::each(|i| at(2 * i)), Self::each(|i| at(2 * i + 1)))
    }
    #[inline(always)]
    fn shift_up(self, v: Self::V, x: f32) -> Self::V {
        Self::each(|i| if i == 0 { x } else { v[i - 1] })
    }
    #[inline(always)]
    fn shift_down(self, v: Self::V, x: f32) -> Self::V {
        Self::each(|i| if i + 1 == PORTABLE { x } else { v[i + 1] })
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> Self::V {
        let mut lanes = [0.; PORTABLE];
        from[..PORTABLE].convert_to_f32_slice(&mut lanes);
        lanes
    }
    #[inline(always)]
    fn zip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let at = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
        (Self::each(at), Self::each(|i| at(i + PORTABLE)))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Simd, f16};
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    /// # Safety
    /// The machine must have the features.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    /// # Safety
    /// The machine must have the features.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }

    /// Proof of AVX2, FMA and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(());
    /// Proof of AVX-512 F, BW, DQ and VL.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    macro_rules! arithmetic {
        ($set1:ident, $loadu:ident, $storeu:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident,
         $max:ident, $min:ident) => {
            #[inline(always)]
            fn splat(self, x: f32) -> Self::V {
                unsafe { $set1(x) }
            }
            #[inline(always)]
            unsafe fn load_ptr(self, from: *const f32) -> Self::V {
                unsafe { $loadu(from) }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
                unsafe { $storeu(to, v) }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $div(a, b) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                unsafe { $min(a, b) }
            }
        };
    }

    // Every `unsafe` below is sound because the value of `Self` proves the features.
    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        const MANY_REGISTERS: bool = false;

        arithmetic!(
            _mm256_set1_ps,
            _mm256_loadu_ps,
            _mm256_storeu_ps,
            _mm256_add_ps,
            _mm256_sub_ps,
            _mm256_mul_ps,
            _mm256_div_ps,
            _mm256_fmadd_ps,
            _mm256_max_ps,
            _mm256_min_ps
        );

        #[inline(always)]
        fn scale_by_power(self, x: Self::V, n_magic: Self::V) -> Self::V {
            unsafe {
                let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(n_magic));
                let one = _mm256_castps_si256(_mm256_set1_ps(1.));
                _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_add_epi32(n, one)))
            }
        }
        #[inline(always)]
        fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe {
                let even = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
                let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0xdd>(a, b));
                let (even, odd) = (_mm256_permute4x64_pd::<0xd8>(even), _mm256_permute4x64_pd::<0xd8>(odd));
                (_mm256_castpd_ps(even), _mm256_castpd_ps(odd))
            }
        }
        #[inline(always)]
        fn shift_up(self, v: Self::V, x: f32) -> Self::V {
            unsafe {
                let moved = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6));
                _mm256_blend_ps::<0x01>(moved, _mm256_set1_ps(x))
            }
        }
        #[inline(always)]
        fn shift_down(self, v: Self::V, x: f32) -> Self::V {
            unsafe {
                let moved = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
                _mm256_blend_ps::<0x80>(moved, _mm256_set1_ps(x))
            }
        }
        #[inline(always)]
        fn load_f16(self, from: &[f16]) -> Self::V {
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from[..Self::LANES].as_ptr().cast())) }
        }
        #[inline(always)]
        fn zip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe {
                let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
            }
        }
    }

    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        const MANY_REGISTERS: bool = true;

        arithmetic!(
            _mm512_set1_ps,
            _mm512_loadu_ps,
            _mm512_storeu_ps,
            _mm512_add_ps,
            _mm512_sub_ps,
            _mm512_mul_ps,
            _mm512_div_ps,
            _mm512_fmadd_ps,
            _mm512_max_ps,
            _mm512_min_ps
        );

        #[inline(always)]
        fn scale_by_power(self, x: Self::V, n_magic: Self::V) -> Self::V {
            unsafe {
                let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(n_magic));
                let one = _mm512_castps_si512(_mm512_set1_ps(1.));
                _mm512_mul_ps(x, _mm512_castsi512_ps(_mm512_add_epi32(n, one)))
            }
        }
        #[inline(always)]
        fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
                (_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b))
            }
        }
        #[inline(always)]
        fn shift_up(self, v: Self::V, x: f32) -> Self::V {
            unsafe {
                let (v, x) = (_mm512_castps_si512(v), _mm512_castps_si512(_mm512_set1_ps(x)));
                _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(v, x))
            }
        }
        #[inline(always)]
        fn shift_down(self, v: Self::V, x: f32) -> Self::V {
            unsafe {
                let (v, x) = (_mm512_castps_si512(v), _mm512_castps_si512(_mm512_set1_ps(x)));
                _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(x, v))
            }
        }
        #[inline(always)]
        fn load_f16(self, from: &[f16]) -> Self::V {
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from[..Self::LANES].as_ptr().cast())) }
        }
        #[inline(always)]
        fn zip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
                (_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b))
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::{HalfFloatSliceExt, Simd, f16};
    #[allow(clippy::wildcard_imports)]
    use std::arch::aarch64::*;

    /// Every aarch64 has it.
    #[derive(Clone, Copy)]
    pub struct Neon(pub(super) ());

    impl Simd for Neon {
        type V = float32x4_t;
        const LANES: usize = 4;
        const MANY_REGISTERS: bool = true;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load_ptr(self, from: *const f32) -> Self::V {
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
            unsafe { vst1q_f32(to, v) }
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vsubq_f32(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        fn div(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vdivq_f32(a, b) }
        }
        #[inline(always)]
        fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vmaxnmq_f32(a, b) }
        }
        #[inline(always)]
        fn min(self, a: Self::V, b: Self::V) -> Self::V {
            unsafe { vminnmq_f32(a, b) }
        }
        #[inline(always)]
        fn scale_by_power(self, x: Self::V, n_magic: Self::V) -> Self::V {
            unsafe {
                let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(n_magic));
                let one = vreinterpretq_s32_f32(vdupq_n_f32(1.));
                vmulq_f32(x, vreinterpretq_f32_s32(vaddq_s32(n, one)))
            }
        }
        #[inline(always)]
        fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe { (vuzp1q_f32(a, b), vuzp2q_f32(a, b)) }
        }
        #[inline(always)]
        fn shift_up(self, v: Self::V, x: f32) -> Self::V {
            unsafe { vextq_f32::<3>(vdupq_n_f32(x), v) }
        }
        #[inline(always)]
        fn shift_down(self, v: Self::V, x: f32) -> Self::V {
            unsafe { vextq_f32::<1>(v, vdupq_n_f32(x)) }
        }
        #[inline(always)]
        fn load_f16(self, from: &[f16]) -> Self::V {
            let mut lanes = [0.; 4];
            from[..4].convert_to_f32_slice(&mut lanes);
            self.load(&lanes)
        }
        #[inline(always)]
        fn zip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
            unsafe { (vzip1q_f32(a, b), vzip2q_f32(a, b)) }
        }
    }
}
