// Devices, contexts, streams and events. A stream is a queue that runs as SOFTGPU_ORDER says: `lazy`
// as late as the program's waits allow, `eager` at once, a number as a seed: at random among what
// events allow. A GPU may do any of these, so that a missing wait shows in one of them.
#include "softgpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <vector>

using namespace softgpu;

namespace softgpu {

static const size_t LONGEST_QUEUE = 4096;
static const int MOST_DEVICES = 16;
thread_local Context *current;
std::recursive_mutex mutex;
static Context contexts[MOST_DEVICES];
static std::vector<std::weak_ptr<Stream>> streams;

enum class Order { Lazy, Eager, Random };
static Order order() {
  static const std::string name = setting("SOFTGPU_ORDER", "lazy");
  return name == "lazy" ? Order::Lazy : name == "eager" ? Order::Eager : Order::Random;
}

Context &need_context() {
  if (!current) {
    complain("no context", "a call needs a context on its thread");
    throw Refused{INVALID_CONTEXT};
  }
  return *current;
}

static StreamPtr new_stream(Context &context) {
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  streams.push_back(stream);
  return stream;
}

StreamPtr need_stream(void *handle, bool any_context) {
  Context &context = need_context();
  if ((uintptr_t)handle <= 2) {  // the default streams
    static std::map<Context *, StreamPtr> defaults;
    auto &stream = defaults[&context];
    if (!stream) stream = new_stream(context);
    return stream;
  }
  StreamPtr stream = *(StreamPtr *)handle;
  if (stream->destroyed) {
    complain("destroyed stream", "a call on a stream that was destroyed");
    throw Refused{INVALID_HANDLE};
  }
  // What is left of a broken device is freed from threads that work on another.
  if (stream->context->error) throw Refused{stream->context->error};
  if (stream->context != &context && !any_context) {
    complain("other context", "a stream of device %d in a context of device %d",
             stream->context->device, context.device);
    throw Refused{INVALID_HANDLE};
  }
  return stream;
}

void finish(const StreamPtr &stream, uint64_t upto) {
  while (stream->done < upto && !stream->waiting.empty()) {
    auto work = std::move(stream->waiting.front());
    stream->waiting.pop_front();
    if (!stream->context->error) work();
    stream->done++;
  }
}

void finish_all() {
  for (auto &weak : streams)
    if (auto stream = weak.lock()) finish(stream);
}

// Lets a few streams run on, each by one of its works.
static void run_some() {
  static std::mt19937_64 random(number("SOFTGPU_ORDER", 0));
  for (uint64_t steps = random() % 3; steps > 0; steps--)
    if (auto stream = streams[random() % streams.size()].lock()) finish(stream, stream->done + 1);
}

void give(const StreamPtr &stream, std::function<void()> work) {
  stream->waiting.push_back(std::move(work));
  stream->given++;
  if (order() == Order::Eager || stream->waiting.size() > LONGEST_QUEUE) finish(stream);
  if (order() == Order::Random) run_some();
}

void fail(Context &context, int status) {
  if (!context.error) context.error = status;
}
void wait_for(Context &context) {
  if (!fault("lost")) return;
  fail(context, UNCORRECTABLE);
  throw Refused{UNCORRECTABLE};
}

struct Event { Context *context; StreamPtr stream; uint64_t at; };

}  // namespace softgpu

// Devices and contexts.
API int cuInit(unsigned) { return devices() ? OK : NO_DEVICE; }
API int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
API int cuDeviceGetCount(int *n) { *n = devices(); return OK; }
API int cuDeviceGet(int *device, int ordinal) {
  if (ordinal < 0 || ordinal >= devices() || ordinal >= MOST_DEVICES) return INVALID_DEVICE;
  *device = ordinal;
  return OK;
}
API int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, length, "Software GPU %d", device);
  return OK;
}
API int cuDeviceGetAttribute(int *value, int attribute, int) {
  return call("cuDeviceGetAttribute", [=] {
    // Multiprocessors, both parts of the compute capability, memory pools.
    static const std::map<int, int> known = {{16, 4}, {75, 9}, {76, 0}, {115, 1}};
    auto found = known.find(attribute);
    if (found == known.end()) {
      complain("unknown attribute", "%d was asked for", attribute);
      throw Refused{INVALID_VALUE};
    }
    *value = found->second;
  });
}
API int cuDevicePrimaryCtxRetain(Context **context, int device) {
  std::lock_guard<std::recursive_mutex> one_at_a_time(mutex);
  *context = &contexts[device];
  contexts[device].device = device;
  contexts[device].retained++;
  return OK;
}
API int cuDevicePrimaryCtxRelease_v2(int device) {
  std::lock_guard<std::recursive_mutex> one_at_a_time(mutex);
  contexts[device].retained--;
  return OK;
}
API int cuCtxGetCurrent(Context **context) { *context = current; return OK; }
API int cuCtxSetCurrent(Context *context) { current = context; return OK; }
API int cuCtxSynchronize() {
  return call("cuCtxSynchronize", [] { wait_for(need_context()); finish_all(); });
}
API int cuGetErrorName(int error, const char **text) {
  static std::map<int, std::string> names = {
      {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"}, {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
      {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"}, {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
      {UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"},
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {NOT_READY, "CUDA_ERROR_NOT_READY"},
      {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}};
  auto &name = names[error];
  if (name.empty()) name = "error " + std::to_string(error);
  *text = name.c_str();
  return OK;
}
API int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

// Streams.
API int cuStreamCreate(StreamPtr **handle, unsigned) {
  return call("cuStreamCreate", [=] { *handle = new StreamPtr(new_stream(need_context())); });
}
API int cuStreamDestroy_v2(void *handle) {
  return call("cuStreamDestroy", [=] {
    StreamPtr stream = need_stream(handle);
    finish(stream);
    stream->destroyed = true;
  });
}
API int cuStreamSynchronize(void *handle) {
  return call("cuStreamSynchronize", [=] {
    StreamPtr stream = need_stream(handle);
    wait_for(*stream->context);
    finish(stream);
  });
}
API int cuStreamIsCapturing(void *, int *status) { *status = 0; return OK; }
API int cuStreamWaitEvent(void *handle, Event *event, unsigned) {
  return call("cuStreamWaitEvent", [=] {
    StreamPtr stream = need_stream(handle), other = event->stream;
    if (!other || other == stream) return;
    count("waits of a stream for another");
    const uint64_t at = event->at;
    give(stream, [other, at] { finish(other, at); });
  });
}

// Events: how far a stream was when it was recorded.
API int cuEventCreate(Event **event, unsigned) {
  return call("cuEventCreate", [=] { *event = new Event{&need_context(), nullptr, 0}; });
}
API int cuEventDestroy_v2(Event *event) {
  return call("cuEventDestroy", [=] { delete event; });
}
API int cuEventRecord(Event *event, void *handle) {
  return call("cuEventRecord", [=] {
    StreamPtr stream = need_stream(handle);
    if (event->context != stream->context) {
      complain("other context", "an event is recorded on a stream of another context");
      throw Refused{INVALID_HANDLE};
    }
    event->stream = stream;
    event->at = stream->given;
  });
}
API int cuEventSynchronize(Event *event) {
  return call("cuEventSynchronize", [=] {
    if (!event->stream) return;
    wait_for(*event->context);
    finish(event->stream, event->at);
  });
}
API int cuEventQuery(Event *event) {
  return call("cuEventQuery", [=] {
    if (!event->stream || event->stream->done >= event->at) return;
    finish(event->stream, event->stream->done + 1);  // time passes
    throw Refused{NOT_READY};
  });
}
API int cuEventElapsedTime_v2(float *milliseconds, Event *, Event *) { *milliseconds = 1; return OK; }
