// Between the software GPU and a shared object of kernels: a name comes in, a kernel comes out; its
// arguments come in, a launch comes out that runs all blocks, one thread after the other.
#pragma once
#include <array>
#include <functional>

namespace softgpu {

using Sizes = std::array<unsigned, 3>;
using Launch = std::function<void(const Sizes &grid, const Sizes &block)>;
// Sees every pointer among the arguments.
using CheckPointer = std::function<void(const void *)>;
struct Kernel {
  const char *name;
  std::function<Launch(void **arguments, const CheckPointer &check)> prepare;
  const Kernel *next;
};
using Lookup = const Kernel *(*)(const char *name);

}  // namespace softgpu
