// Allocations and copies: sizes and addresses come in from programs and products, memory or a refusal
// goes out. Device memory starts as NaN and lies between two pages that must not be
// touched; writes into the few bytes between are found when it is freed. What is in use is counted
// when memory is asked for and given back, as a pool does that serves one stream.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "softgpu.h"

using namespace softgpu;

namespace softgpu {

static const size_t PAGE = 4096, ALIGNMENT = 16, POOL_UNIT = 512, MOST_SPARE = 1ull << 30;
static const unsigned char UNSET = 0xff;  // four of them are NaN

struct Allocation {
  size_t size, mapped;
  char *base;
  int device;
  bool host, freed;
};
static std::map<uint64_t, Allocation> allocations;
static uint64_t used[16], highest[16], watermark[16];

uint64_t peak_bytes(int device) { return highest[device]; }
static uint64_t total_bytes() {
  static const uint64_t bytes = number("SOFTGPU_MEMORY", 8ull << 30);
  return bytes;
}
static size_t units(size_t size) { return (size + POOL_UNIT - 1) / POOL_UNIT * POOL_UNIT; }
static size_t room(size_t size) {
  return (std::max<size_t>(size, 1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Maps that are free again, by size, unset from end to end; kept, since new ones cost more than most
// kernels.
static std::multimap<size_t, char *> spare;
static size_t spare_bytes;

static char *map(size_t mapped) {
  auto found = spare.find(mapped);
  if (found != spare.end()) {
    char *base = found->second;
    spare.erase(found);
    spare_bytes -= mapped;
    return base;
  }
  void *map = mmap(0, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw Refused{OUT_OF_MEMORY};
  mprotect((char *)map + PAGE, mapped - 2 * PAGE, PROT_READ | PROT_WRITE);
  memset((char *)map + PAGE, UNSET, mapped - 2 * PAGE);
  return (char *)map;
}
static void unmap(char *base, size_t mapped) {
  if (spare_bytes + mapped > MOST_SPARE) {
    munmap(base, mapped);
    return;
  }
  memset(base + PAGE, UNSET, mapped - 2 * PAGE);
  spare.emplace(mapped, base);
  spare_bytes += mapped;
}

static uint64_t allocate(size_t size, int device, bool host) {
  const size_t body = (room(size) + PAGE - 1) / PAGE * PAGE, mapped = body + 2 * PAGE;
  char *base = map(mapped), *at = base + PAGE + body - room(size);
  allocations[(uint64_t)at] = {size, mapped, base, device, host, false};
  return (uint64_t)at;
}

static void release(uint64_t at) {
  auto found = allocations.find(at);
  const Allocation &a = found->second;
  for (size_t i = a.size; i < room(a.size); i++)
    if (((unsigned char *)at)[i] != UNSET) {
      complain("outside", "a write behind an allocation of %zu bytes", a.size);
      break;
    }
  unmap(a.base, a.mapped);
  allocations.erase(found);
}

static Allocation *find(uint64_t at) {
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin()) return nullptr;
  --next;
  return at <= next->first + next->second.size ? &next->second : nullptr;
}
static bool is_pinned(const void *at, size_t size) {
  Allocation *found = find((uint64_t)at);
  return found && found->host && (uint64_t)at + size <= (uint64_t)found->base + found->mapped - PAGE;
}

bool inside(const char *what, uint64_t at, size_t size, Context &context) {
  if (!size) return true;
  auto next = allocations.upper_bound(at);
  const bool found = next != allocations.begin() && (--next, !next->second.host) &&
                     at + size <= next->first + next->second.size;
  if (found && next->second.device == context.device) return true;
  if (found) complain("other device", "%s: memory of device %d on device %d", what,
                      next->second.device, context.device);
  else complain("outside", "%s: %zu bytes in no allocation; %s", what, size, nearest(at).c_str());
  fail(context, ILLEGAL_ADDRESS);
  return false;
}

void check_pointer(const char *kernel, uint64_t at, Context &context) {
  if (!at) return;  // an argument that is not there
  Allocation *found = find(at);
  if (!found || found->host || found->freed)
    complain("argument", "%s is handed a pointer into %s memory", kernel,
             !found ? "no" : found->host ? "the host's" : "freed");
  else if (found->device != context.device)
    complain("other device", "%s on device %d is handed memory of device %d", kernel,
             context.device, found->device);
}

std::string nearest(uint64_t at) {
  char text[128];
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin()) return "no allocation is below";
  --next;
  snprintf(text, sizeof text, "the allocation below has %zu bytes, this is at byte %ld",
           next->second.size, (long)(at - next->first));
  return text;
}

// One end of a copy: a device's memory, or with no context the host's.
struct End { uint64_t at; Context *context; };

// A copy goes to a stream of any context (CUDA C++ Programming Guide, multi-device streams).
static void copy(const char *name, const StreamPtr &stream, End to, End from, size_t size) {
  count(std::string("bytes by ") + name, size);
  for (const End &end : {to, from})
    if (end.context && size) check_pointer(name, end.at, *end.context);
  give(stream, [=] {
    for (const End &end : {to, from})
      if (end.context && !inside(name, end.at, size, *end.context)) return;
    memmove((void *)to.at, (const void *)from.at, size);
  });
}

}  // namespace softgpu

// Memory of a device.
API int cuMemAllocAsync(uint64_t *at, size_t size, void *handle) {
  return call("cuMemAllocAsync", [=] {
    const int device = need_stream(handle)->context->device;
    if (!size) count("allocations of no bytes");  // what a driver answers is not documented
    if (fault("memory") || used[device] + units(size) > total_bytes()) throw Refused{OUT_OF_MEMORY};
    *at = allocate(size, device, false);
    used[device] += units(size);
    highest[device] = std::max(highest[device], used[device]);
    watermark[device] = std::max(watermark[device], used[device]);
  });
}
API int cuMemFreeAsync(uint64_t at, void *handle) {
  return call("cuMemFreeAsync", [=] {
    StreamPtr stream = need_stream(handle);
    auto found = allocations.find(at);
    if (found == allocations.end() || found->second.freed || found->second.host) {
      complain("free", "of what is no allocation of a device");
      throw Refused{INVALID_VALUE};
    }
    found->second.freed = true;
    used[found->second.device] -= units(found->second.size);
    give(stream, [at] { release(at); });
  });
}
API int cuMemGetInfo_v2(size_t *free, size_t *total) {
  return call("cuMemGetInfo", [=] {
    *total = total_bytes();
    *free = *total - highest[need_context().device];  // the pool keeps what was freed
  });
}
API int cuDeviceGetDefaultMemPool(void **pool, int device) {
  *pool = (void *)(uintptr_t)(0x1000 + device);
  return OK;
}
API int cuMemPoolSetAttribute(void *pool, int attribute, uint64_t *value) {
  return call("cuMemPoolSetAttribute", [=] {
    const int device = (uintptr_t)pool - 0x1000;
    if (attribute == 8 && !*value) watermark[device] = used[device];
    else if (attribute != 4) throw Refused{INVALID_VALUE};
  });
}
API int cuMemPoolGetAttribute(void *pool, int attribute, uint64_t *value) {
  return call("cuMemPoolGetAttribute", [=] {
    const int device = (uintptr_t)pool - 0x1000;
    if (attribute == 5) *value = highest[device];
    else if (attribute == 7) *value = used[device];
    else if (attribute == 8) *value = watermark[device];
    else throw Refused{INVALID_VALUE};
  });
}

// Page-locked memory of the host.
API int cuMemHostAlloc(void **at, size_t size, unsigned) {
  return call("cuMemHostAlloc", [=] {
    need_context();
    *at = (void *)allocate(size, 0, true);
  });
}
API int cuMemFreeHost(void *at) {
  return call("cuMemFreeHost", [=] {
    for (auto &entry : allocations)
      if (entry.first == (uint64_t)at && entry.second.host) return release((uint64_t)at);
    complain("free", "of what is no page-locked memory");
  });
}

// Copies. From pageable memory the driver has copied when the call returns; into it, all is done.
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *handle) {
  return call("cuMemcpyHtoDAsync", [=] {
    StreamPtr stream = need_stream(handle, true);
    if (is_pinned(from, size))
      return copy("cuMemcpyHtoDAsync", stream, {to, stream->context}, {(uint64_t)from, nullptr}, size);
    auto staged = std::make_shared<std::vector<char>>((const char *)from, (const char *)from + size);
    copy("cuMemcpyHtoDAsync", stream, {to, stream->context}, {(uint64_t)staged->data(), nullptr}, size);
    give(stream, [staged] {});  // kept until the copy has run
  });
}
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *handle) {
  return call("cuMemcpyDtoHAsync", [=] {
    StreamPtr stream = need_stream(handle, true);
    copy("cuMemcpyDtoHAsync", stream, {(uint64_t)to, nullptr}, {from, stream->context}, size);
    if (is_pinned(to, size)) {
      count("copies into page-locked memory");
      if (size >= 1 << 20) count("long copies into page-locked memory");
    } else {
      wait_for(*stream->context);
      finish(stream);
    }
  });
}
API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *handle) {
  return call("cuMemcpyDtoDAsync", [=] {
    StreamPtr stream = need_stream(handle, true);
    copy("cuMemcpyDtoDAsync", stream, {to, stream->context}, {from, stream->context}, size);
  });
}
API int cuMemcpyPeerAsync(uint64_t to, Context *there, uint64_t from, Context *here, size_t size,
                          void *handle) {
  return call("cuMemcpyPeerAsync", [=] {
    copy("cuMemcpyPeerAsync", need_stream(handle, true), {to, there}, {from, here}, size);
  });
}
API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, void *handle) {
  return call("cuMemsetD8Async", [=] {
    StreamPtr stream = need_stream(handle);
    give(stream, [=] {
      if (inside("cuMemsetD8Async", to, size, *stream->context)) memset((void *)to, value, size);
    });
  });
}
