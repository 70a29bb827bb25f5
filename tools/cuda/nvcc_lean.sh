#!/usr/bin/env bash
# nvcc without the kernels of quantized tensors and mixtures of experts: they are most of candle's
# build, and nothing here calls them. Their objects come out empty.
set -euo pipefail

unused= output=
for ((at = 1; at <= $#; at++)); do
  case ${!at} in
    *mmq_*.cu | *mmvq_*.cu | */moe/*.cu) unused=yes ;;
    -o) next=$((at + 1)) && output=${!next} ;;
  esac
done

if [[ -n $unused && " $* " == *" -c "* ]]; then
  exec cc -c -x c /dev/null -o "$output"
fi
exec "$CUDA_HOME/bin/nvcc" "$@"
