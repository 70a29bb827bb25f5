// Modules, launches and NVRTC. A file of kernels is compiled by g++ as a shared object
// (build_kernels.sh); a module is one or several of these, and a kernel unpacks its arguments by its
// own signature. candle's modules hold no code here: their kernels are found by name in its `.cu`
// files, which build.sh has compiled.
#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "include/kernel.h"
#include "softgpu.h"

using namespace softgpu;

namespace softgpu {

static const char *const CANDLE[] = {"affine", "binary", "cast", "conv", "fill", "indexing",
                                     "reduce", "ternary", "unary"};
static const int NVRTC_INVALID_OPTION = 5, NVRTC_COMPILATION = 6;
static const char IMAGE[] = "softgpu:";

struct Module { Context *context; std::vector<Lookup> files; };
struct Function { Context *context; std::string name; const Kernel *kernel; };
struct Program { std::string source, log, image; };

// What runs, for whoever touches memory that is not there.
static const char *running = "no kernel";
static void on_fault(int, siginfo_t *info, void *) {
  // Not by fprintf, which needs more stack than signals have.
  char text[256];
  const int length = snprintf(text, sizeof text, "softgpu: outside: %s touches memory that it may not; %s\n",
                              running, nearest((uint64_t)info->si_addr).c_str());
  if (write(STDERR_FILENO, text, length < (int)sizeof text ? length : sizeof text) < 0) _exit(98);
  _exit(97);
}
static void watch_faults() {
  static bool once = [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    return true;
  }();
  (void)once;
}

std::string home() {
  Dl_info info;
  char path[4096];
  if (!dladdr((void *)home, &info) || !realpath(info.dli_fname, path)) return ".";
  const std::string file = path;
  return file.substr(0, file.rfind('/'));
}

static Lookup open_file(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    complain("no kernels", "%s", dlerror());
    throw Refused{NOT_FOUND};
  }
  return (Lookup)dlsym(library, "softgpu_lookup");
}

// Compiles unless it is there; a file appears whole.
bool compile(const std::string &source, const std::string &object, std::string &log) {
  if (!access(object.c_str(), R_OK)) return true;
  const std::string stem = object + "." + std::to_string(getpid());
  std::ofstream(stem + ".cu") << source;
  const std::string command = home() + "/build_kernels.sh " + stem + ".cu " + stem + " 2>" + stem + ".log";
  const bool failed = system(command.c_str()) != 0;
  std::ifstream said(stem + ".log");
  log.assign(std::istreambuf_iterator<char>(said), {});
  return !failed && !rename(stem.c_str(), object.c_str());
}

static bool fits(const unsigned *grid, const unsigned *block, unsigned shared) {
  for (int i = 0; i < 3; i++)
    if (!grid[i] || !block[i] || grid[i] > (i ? 65535u : 0x7fffffffu) || block[i] > (i < 2 ? 1024u : 64u))
      return false;
  return block[0] * block[1] * block[2] <= 1024 && shared <= 48 << 10;
}

}  // namespace softgpu

API int cuModuleLoadData(Module **module, const char *image) {
  return call("cuModuleLoadData", [=] {
    auto loaded = new Module{&need_context(), {}};
    const size_t length = strlen(IMAGE);
    if (!strncmp(image, IMAGE, length)) loaded->files.push_back(open_file(image + length));
    else
      for (const char *name : CANDLE) loaded->files.push_back(open_file(home() + "/candle_" + name + ".so"));
    *module = loaded;
  });
}
API int cuModuleUnload(Module *) { return OK; }
API int cuModuleGetFunction(Function **function, Module *module, const char *name) {
  return call("cuModuleGetFunction", [=] {
    need_context();
    const Kernel *kernel = nullptr;
    for (Lookup lookup : module->files)
      if (!kernel) kernel = lookup(name);
    if (!kernel) {
      complain("no kernel", "%s", name);
      throw Refused{NOT_FOUND};
    }
    *function = new Function{module->context, name, kernel};
  });
}
API int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                       unsigned by, unsigned bz, unsigned shared, void *handle, void **arguments,
                       void **) {
  return call("cuLaunchKernel", [=] {
    StreamPtr stream = need_stream(handle);
    const char *name = function->name.c_str();
    if (function->context != stream->context) {
      complain("other context", "%s was loaded for another device", name);
      throw Refused{INVALID_HANDLE};
    }
    const std::array<unsigned, 3> grid = {gx, gy, gz}, block = {bx, by, bz};
    if (!fits(grid.data(), block.data(), shared)) {
      complain("grid", "%s: grid %u %u %u, block %u %u %u", name, gx, gy, gz, bx, by, bz);
      throw Refused{INVALID_VALUE};
    }
    if (fault("launch")) {
      fail(*stream->context, LAUNCH_FAILED);
      throw Refused{LAUNCH_FAILED};
    }
    count("kernel " + function->name);
    watch_faults();
    running = name;  // it may have fewer arguments than it reads
    Context *context = stream->context;
    Launch launch = function->kernel->prepare(
        arguments, [=](const void *at) { check_pointer(name, (uint64_t)at, *context); });
    give(stream, [=] {
      running = name;
      launch(grid, block);
    });
  });
}

// NVRTC: the image of a program is the path of its shared object.
API int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return OK; }
API const char *nvrtcGetErrorString(int) { return "the software GPU's compiler failed"; }
API int nvrtcCreateProgram(Program **program, const char *source, const char *, int,
                           const char *const *, const char *const *) {
  *program = new Program{source, "", ""};
  return OK;
}
API int nvrtcDestroyProgram(Program **program) {
  delete *program;
  *program = nullptr;
  return OK;
}
API int nvrtcCompileProgram(Program *program, int options, const char *const *option) {
  return call_library("nvrtcCompileProgram", 11, 11, [=] {
    for (int i = 0; i < options; i++)
      if (strcmp(option[i], "--gpu-architecture=compute_90")) {
        complain("option", "NVRTC: %s", option[i]);
        throw Refused{NVRTC_INVALID_OPTION};
      }
    const std::string folder = setting("SOFTGPU_CACHE", (home() + "/cache").c_str());
    mkdir(folder.c_str(), 0777);
    const std::string object = folder + "/" + std::to_string(std::hash<std::string>()(program->source)) + ".so";
    if (!compile(program->source, object, program->log)) {
      complain("compiler", "%s", program->log.c_str());
      throw Refused{NVRTC_COMPILATION};
    }
    program->image = IMAGE + object;
  });
}
API int nvrtcGetPTXSize(Program *program, size_t *size) { *size = program->image.size() + 1; return OK; }
API int nvrtcGetPTX(Program *program, char *to) { strcpy(to, program->image.c_str()); return OK; }
API int nvrtcGetProgramLogSize(Program *program, size_t *size) { *size = program->log.size() + 1; return OK; }
API int nvrtcGetProgramLog(Program *program, char *to) { strcpy(to, program->log.c_str()); return OK; }
