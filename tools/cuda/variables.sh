# Sourced by the scripts that build with the feature `cuda`: the release whose interfaces cudarc
# binds, and the GPU that candle's kernels are compiled for. A driver compiles PTX for 8.0 again for
# any newer GPU; that of 9.0 and later stays with its generation (`sm_90a`).
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80} CUDARC_CUDA_VERSION=13000
