// CUDA C for the host's compiler, included before every file of kernels: built-in variables and
// functions come in by name, kernels go out as entries that `softgpu_lookup` finds. Threads of a
// block run one after the other, and where a file has barriers (SOFTGPU_FIBERS) each as a fiber
// until its next barrier.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernel.h"

using std::isnan;
using std::max;
using std::min;
using std::signbit;

#define __CUDACC__ 1
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __CUDA_ARCH__ 800
#define __device__
#define __global__
#define __host__
#define __constant__ static const
#define __shared__ static
#undef __forceinline__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }

template <class To, class From> To softgpu_bits(From x) {
  To to;
  static_assert(sizeof to == sizeof x, "the bits of a number of the same size");
  memcpy(&to, &x, sizeof to);
  return to;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }
inline unsigned __float_as_uint(float x) { return softgpu_bits<unsigned>(x); }
inline int __float_as_int(float x) { return softgpu_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return softgpu_bits<float>(x); }
inline float __int_as_float(int x) { return softgpu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return softgpu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return softgpu_bits<double>(x); }

// One thread at a time: reading and writing is atomic.
template <class T, class V> T atomicAdd(T *p, V v) { T old = *p; *p = old + v; return old; }
template <class T, class V> T atomicMin(T *p, V v) { T old = *p; if ((T)v < old) *p = v; return old; }
template <class T, class V> T atomicMax(T *p, V v) { T old = *p; if ((T)v > old) *p = v; return old; }
template <class T, class C, class V> T atomicCAS(T *p, C c, V v) { T old = *p; if (old == (T)c) *p = v; return old; }

namespace softgpu {

#ifdef SOFTGPU_FIBERS
static const unsigned THREADS = 1024, STACK = 64 << 10, LANE = 16;
struct Fiber { void *stack_pointer; char *stack; bool done; };
static Fiber fibers[THREADS];
static unsigned char lanes[THREADS][LANE];
static void *scheduler;
static unsigned own;
static void (*call_body)(void *);
static void *call_data;

// Saves what a call keeps on the running stack, and goes on with another.
extern "C" void softgpu_switch(void **from, void *to);
asm(R"(
.text
.local softgpu_switch
softgpu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

static void fiber_main() {
  call_body(call_data);
  fibers[own].done = true;
  void *nowhere;
  softgpu_switch(&nowhere, scheduler);
}
static void prepare(Fiber &fiber) {
  if (!fiber.stack) fiber.stack = (char *)malloc(STACK);
  void **top = (void **)(((uintptr_t)fiber.stack + STACK) & ~(uintptr_t)15);
  *--top = 0;  // so that the entry sees the alignment of a call
  *--top = (void *)fiber_main;
  for (int saved = 0; saved < 6; saved++) *--top = 0;
  fiber.stack_pointer = top;
  fiber.done = false;
}
// Until the next round of the block's threads.
static void barrier() {
  const Index index = threadIdx;
  const unsigned me = own;
  softgpu_switch(&fibers[me].stack_pointer, scheduler);
  threadIdx = index;
}
template <class Body> static void run_block(Body body) {
  const unsigned n = blockDim.x * blockDim.y * blockDim.z;
  call_body = [](void *at) { (*(Body *)at)(); };
  call_data = &body;
  for (unsigned i = 0; i < n; i++) prepare(fibers[i]);
  for (unsigned left = n; left;)
    for (unsigned i = 0; i < n; i++) {
      if (fibers[i].done) continue;
      own = i;
      threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
      softgpu_switch(&scheduler, fibers[i].stack_pointer);
      if (fibers[i].done) left--;
    }
}
template <class T> T exchange(T value, int mask) {
  const unsigned lane = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  memcpy(lanes[lane], &value, sizeof value);
  barrier();
  T other;
  memcpy(&other, lanes[lane ^ mask], sizeof other);
  barrier();
  return other;
}
#else
// `body` here, not behind a pointer: a kernel is inlined into the loop over threads.
template <class Body> static void run_block(Body body) {
  for (threadIdx.z = 0; threadIdx.z < blockDim.z; threadIdx.z++)
    for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
      for (unsigned x = 0, n = blockDim.x; x < n; x++) {
        threadIdx.x = x;
        body();
      }
}
static void barrier() {
  fprintf(stderr, "softgpu: a barrier in a file that was compiled without fibers\n");
  abort();
}
template <class T> T exchange(T value, int) { barrier(); return value; }
#endif

static const Kernel *kernels;

// The arguments of one launch.
template <class... A> struct Call {
  std::tuple<std::decay_t<A>...> arguments;

  template <size_t... I> Call(void **from, std::index_sequence<I...>)
      : arguments(*(std::decay_t<A> *)from[I]...) {}
  void look(const CheckPointer &check) const {
    auto one = [&check](auto x) { if constexpr (std::is_pointer_v<decltype(x)>) check((const void *)x); };
    std::apply([&](auto... x) { (one(x), ...); }, arguments);
  }
};

// The kernel F.
template <auto F> struct Registered {
  Kernel kernel;

  template <class... A> static Launch launch(void (*)(A...), void **from, const CheckPointer &check) {
    const Call<A...> call(from, std::index_sequence_for<A...>());
    call.look(check);
    return [call](const Sizes &grid, const Sizes &block) {
      gridDim = {grid[0], grid[1], grid[2]};
      blockDim = {block[0], block[1], block[2]};
      for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
          for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++)
            run_block([&call] { std::apply(F, call.arguments); });
    };
  }
  explicit Registered(const char *name) {
    auto prepare = [](void **from, const CheckPointer &check) { return launch(F, from, check); };
    kernel = {name, prepare, kernels};
    kernels = &kernel;
  }
};

}  // namespace softgpu

#define __syncthreads() softgpu::barrier()
template <class T> T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
  return softgpu::exchange(value, mask);
}

#define SOFTGPU_KERNEL(name) static softgpu::Registered<name> softgpu_##name(#name);
extern "C" __attribute__((visibility("default"))) const softgpu::Kernel *softgpu_lookup(const char *name) {
  for (const softgpu::Kernel *k = softgpu::kernels; k; k = k->next)
    if (!strcmp(k->name, name)) return k;
  return nullptr;
}
