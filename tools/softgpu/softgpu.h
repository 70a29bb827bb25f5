// What the parts of the software GPU share: settings and reports, streams as queues, allocations.
// Comes in: calls of the CUDA driver, cuBLAS, cuRAND and NVRTC by a program built for a GPU. Goes
// out: what a GPU would answer, and a complaint about each call that a GPU could take amiss.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace softgpu {

// Answers of the driver, by its numbers.
enum Status {
  OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201, UNCORRECTABLE = 214, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
  ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719,
};
// Thrown where a call is refused; `call` turns it into the answer.
struct Refused { int status; };

// report.cpp: settings from the environment, counts, complaints, faults on request.
const char *setting(const char *name, const char *otherwise);
uint64_t number(const char *name, uint64_t otherwise);
int devices();
void count(const std::string &what, uint64_t by = 1);
void complain(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Whether SOFTGPU_FAULT (`KIND:N`) asks for a fault at this call, the N-th of its kind; counted as
// `chances of KIND`.
bool fault(const char *kind);

// streams.cpp. A stream holds work that was given and not yet done; `done` of `given` has run.
struct Context { int device; int retained; int error; };
struct Stream {
  Context *context;
  std::deque<std::function<void()>> waiting;
  uint64_t given = 0, done = 0;
  bool destroyed = false;
};
using StreamPtr = std::shared_ptr<Stream>;
extern thread_local Context *current;
extern std::recursive_mutex mutex;
Context &need_context();
// The stream of a handle; refused unless it belongs to the thread's context or `any_context`.
StreamPtr need_stream(void *handle, bool any_context = false);
void give(const StreamPtr &stream, std::function<void()> work);
void finish(const StreamPtr &stream, uint64_t upto = UINT64_MAX);
void finish_all();
// Marks a context as broken, as an illegal address or a failed launch does: all calls fail from then.
void fail(Context &context, int status);
// The host waits for this context, and may find its device lost.
void wait_for(Context &context);

// memory.cpp
// Whether `size` bytes at `at` lie in one allocation of this device; complains where not.
bool inside(const char *what, uint64_t at, size_t size, Context &context);
// The same for the start of what a kernel is handed, whose length nobody says.
void check_pointer(const char *kernel, uint64_t at, Context &context);
std::string nearest(uint64_t at);
uint64_t peak_bytes(int device);

// kernels.cpp: the folder of this library and its kernels, and a file of kernels compiled anew.
std::string home();
bool compile(const std::string &source, const std::string &object, std::string &log);

// Every entry point: one at a time, counted, its context still whole.
template <class F> int call(const char *name, F body) {
  std::lock_guard<std::recursive_mutex> one_at_a_time(mutex);
  count(name);
  try {
    if (current && current->error) return current->error;
    body();
    return current ? current->error : OK;
  } catch (const Refused &refused) {
    return refused.status;
  }
}

// The same for a library of CUDA, whose answers are 0 to `last`; other errors become `broken`.
template <class F> int call_library(const char *name, int last, int broken, F body) {
  const int answer = call(name, body);
  return answer <= last ? answer : broken;
}

}  // namespace softgpu
