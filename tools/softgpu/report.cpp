// Settings from the environment, counts of all calls, complaints, and faults on request. At the end
// of the process counts go to the file SOFTGPU_STATS, and a process with complaints ends with 97.
#include "softgpu.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace softgpu {

static const int COMPLAINED = 97, PRINTED = 5;

// Made at the first use, and never destroyed: other libraries may call while the process ends.
static std::map<std::string, uint64_t> &counts() {
  static auto *map = new std::map<std::string, uint64_t>;
  return *map;
}
static std::map<std::string, uint64_t> &complaints() {
  static auto *map = new std::map<std::string, uint64_t>;
  return *map;
}

const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}
uint64_t number(const char *name, uint64_t otherwise) {
  const char *value = setting(name, nullptr);
  return value ? strtoull(value, nullptr, 10) : otherwise;
}
int devices() {
  static const int count = (int)number("SOFTGPU_DEVICES", 1);
  return count;
}

void count(const std::string &what, uint64_t by) { counts()[what] += by; }

void complain(const char *kind, const char *format, ...) {
  if (complaints()[kind]++ >= PRINTED) return;
  va_list list;
  va_start(list, format);
  fprintf(stderr, "softgpu: %s: ", kind);
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
  va_end(list);
}

bool fault(const char *kind) {
  static const std::string wanted = setting("SOFTGPU_FAULT", "");
  count(std::string("chances of ") + kind);
  if (wanted.compare(0, strlen(kind), kind) || wanted[strlen(kind)] != ':') return false;
  static std::map<std::string, uint64_t> seen;
  return ++seen[kind] == strtoull(wanted.c_str() + strlen(kind) + 1, nullptr, 10);
}

static void write_counts() {
  const char *path = setting("SOFTGPU_STATS", nullptr);
  FILE *file = path ? fopen(path, "a") : nullptr;
  if (!file) return;
  for (int device = 0; device < devices(); device++)
    fprintf(file, "%lu\tpeak bytes of device %d\n", peak_bytes(device), device);
  for (auto &entry : counts()) fprintf(file, "%lu\t%s\n", entry.second, entry.first.c_str());
  fclose(file);
}

struct AtExit {
  ~AtExit() {
    write_counts();
    if (complaints().empty()) return;
    for (auto &kind : complaints())
      fprintf(stderr, "softgpu: %lu times: %s\n", kind.second, kind.first.c_str());
    fflush(nullptr);
    _exit(COMPLAINED);
  }
};
static AtExit at_exit;

}  // namespace softgpu
