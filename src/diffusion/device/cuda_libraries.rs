//! NVIDIA's libraries, opened with the GPU and not with the program: so that a build for CUDA also starts, and runs on
//! the CPU, where there are none.
//!
//! candle asks its bindings (cudarc) to link the libraries, and then the system's loader would refuse the whole program
//! where one is missing. So the functions that those bindings call are defined here: each jumps to where [`open`] has
//! found the real one. The linker takes these, finds nothing left that the libraries would have to give, and leaves
//! them out (a test looks at the finished program). A function that is missing in these lists still links, but brings
//! its library back: that is what the test is for.
#![expect(
    unsafe_code,
    reason = "libraries are opened and their functions jumped to; each place says why it is good"
)]

use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::Library;

/// A library and the functions of it that this program calls.
struct Wanted {
    /// The name that the loader knows.
    file: &'static str,
    /// Who brings it.
    from: &'static str,
    functions: &'static [&'static str],
    /// Where each function is, once it is known.
    addresses: &'static [AtomicPtr<c_void>],
}

/// What a function does before [`open`] has found it: nobody calls one then, for there is no device.
extern "C" fn not_opened() -> c_int {
    // CUDA_ERROR_NOT_INITIALIZED, and a failure to cuBLAS and cuRAND as well.
    3
}

macro_rules! library {
    ($library:ident = $file:expr, from $from:expr; $($function:ident)+) => {
        mod $library {
            use super::{AtomicPtr, Wanted, c_void, not_opened};

            #[expect(non_camel_case_types, reason = "named as the functions are")]
            #[allow(clippy::enum_variant_names, reason = "named as the functions are")]
            enum Place { $($function),+ }

            const FUNCTIONS: &[&str] = &[$(stringify!($function)),+];
            static ADDRESSES: [AtomicPtr<c_void>; FUNCTIONS.len()] =
                [const { AtomicPtr::new(not_opened as *mut c_void) }; FUNCTIONS.len()];
            pub static WANTED: Wanted =
                Wanted { file: $file, from: $from, functions: FUNCTIONS, addresses: &ADDRESSES };

            $(
                /// Goes on in the function of this name, whatever its arguments are: none is touched.
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                extern "C" fn $function() {
                    #[cfg(target_arch = "x86_64")]
                    core::arch::naked_asm!(
                        "jmp qword ptr [rip + {addresses} + {place}]",
                        addresses = sym ADDRESSES,
                        place = const Place::$function as usize * size_of::<usize>(),
                    );
                    #[cfg(target_arch = "aarch64")]
                    core::arch::naked_asm!(
                        "adrp x16, {addresses} + {place}",
                        "add x16, x16, :lo12:({addresses} + {place})",
                        "ldr x16, [x16]",
                        "br x16",
                        addresses = sym ADDRESSES,
                        place = const Place::$function as usize * size_of::<usize>(),
                    );
                }
            )+
        }
    };
}

library! { driver = "libcuda.so.1", from "NVIDIA's driver";
    cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize
    cuDeviceGet cuDeviceGetAttribute cuDeviceGetDefaultMemPool cuDeviceGetGraphMemAttribute cuDeviceGetName
    cuDeviceGraphMemTrim
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain cuDriverGetVersion
    cuEventCreate cuEventDestroy_v2 cuEventRecord cuGetErrorString
    cuGraphDestroy cuGraphExecDestroy cuGraphInstantiateWithFlags cuGraphLaunch
    cuInit cuLaunchKernel
    cuMemAllocAsync cuMemAlloc_v2 cuMemFreeAsync cuMemFree_v2 cuMemGetInfo_v2 cuMemPoolGetAttribute
    cuMemPoolSetAttribute
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync cuMemsetD8Async
    cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload
    cuStreamBeginCapture_v2 cuStreamCreate cuStreamDestroy_v2 cuStreamEndCapture cuStreamIsCapturing
    cuStreamSynchronize cuStreamWaitEvent
}

library! { blas = concat!("libcublas.so.", env!("CUDA_MAJOR")), from concat!("CUDA ", env!("CUDA_MAJOR"), "'s cuBLAS");
    cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx cublasSetStream_v2
}

library! { random = "libcurand.so.10", from concat!("CUDA ", env!("CUDA_MAJOR"), "'s cuRAND");
    curandCreateGenerator curandDestroyGenerator curandSetPseudoRandomGeneratorSeed curandSetStream
}

/// Finds every function, once for the whole run of the program.
///
/// # Errors
/// Which library is not there, or too old, and who brings it.
pub fn open() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    OPENED
        .get_or_init(|| {
            driver::WANTED.open()?;
            driver_is_new_enough()?;
            blas::WANTED.open()?;
            random::WANTED.open()
        })
        .clone()
}

/// A driver translates kernels of its own release and of earlier ones.
fn driver_is_new_enough() -> Result<(), String> {
    let built: [i32; 2] = [env!("CUDA_MAJOR"), env!("CUDA_MINOR")].map(|number| number.parse().unwrap_or(0));
    let mut version = 0;
    // SAFETY: `version` outlives the call, which may come before `cuInit`.
    let status =
        unsafe { candle_core::cuda_backend::cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
    let driver = [version / 1000, version % 1000 / 10];
    if status as u32 == 0 && driver < built {
        let [[major, minor], [built_major, built_minor]] = [driver, built];
        return Err(format!(
            "NVIDIA's driver is for CUDA {major}.{minor}, this tintype for {built_major}.{built_minor}: update the \
             driver, or build with CUDA {major}.{minor}"
        ));
    }
    Ok(())
}

impl Wanted {
    fn open(&self) -> Result<(), String> {
        let library = self.library()?;
        for (function, address) in self.functions.iter().zip(self.addresses) {
            // SAFETY: only its address is taken; who calls it declares it as NVIDIA's headers do.
            let found = unsafe { library.get::<*mut c_void>(*function) };
            let found = found
                .map_err(|_| format!("{} has no {function}: install a newer {}", self.file, self.from))?;
            address.store(found.as_raw_ptr(), Ordering::Release);
        }
        // Never closed: its functions are called until the program ends.
        std::mem::forget(library);
        Ok(())
    }

    /// From where the loader looks, else from where CUDA is installed.
    fn library(&self) -> Result<Library, String> {
        let homes =
            std::env::var_os("CUDA_HOME").map(PathBuf::from).into_iter().chain(["/usr/local/cuda".into()]);
        let folders = homes.flat_map(|home| [home.join("lib64"), home.join("lib")]);
        std::iter::once(PathBuf::from(self.file))
            .chain(folders.map(|folder| folder.join(self.file)))
            // SAFETY: NVIDIA's libraries may be opened at any time, from any thread.
            .find_map(|path| unsafe { Library::new(path) }.ok())
            .ok_or_else(|| format!("{} is not here: install {}", self.file, self.from))
    }
}
