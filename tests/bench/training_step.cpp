// A Mamba language model's training step as `train` takes it, of any shape, on the CPU or a card, through the plugins
// of a build: seconds a step (the whole of it: batch, loss, gradients, optimizer, what is reported), the card's memory
// at its peak, and the last loss.
//   training_step PLUGINS DEVICE PRECISION BATCH LENGTH [STEPS [D_MODEL LAYERS VOCABULARY]]
//   training_step build/lib/colonnade cuda bf16 8 2048
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "colonnade/plugin.h"
#include "colonnade/random.h"
#include "colonnade/run_op.h"
#include "colonnade/tensor/device.h"
#include "colonnade/tokens.h"

namespace {

using namespace colonnade;
using Clock = std::chrono::steady_clock;

void load(const std::string& folder, const std::string& name) {
  void* library = dlopen((folder + "/" + name + ".plugin.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto* descriptor = static_cast<const PluginDescriptor*>(dlsym(library, "colonnade_plugin"));
  Registrar registrar(name);
  if (descriptor == nullptr || descriptor->register_plugin(&registrar) != nullptr)
    throw std::runtime_error(name + " does not register");
  Registry::instance().commit(std::move(registrar));
}

Field random_text(std::int64_t count, std::int64_t vocabulary) {
  const RandomStream random(0);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    ids.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocabulary))));
  }
  Tokens tokens;
  tokens.ids = Blob::copy(DType::i32, {count}, ids.data());
  tokens.vocabulary = "random";
  tokens.vocabulary_size = vocabulary;
  tokens.split = "train";
  tokens.bytes = tokens.words = count;
  return to_field(tokens);
}

/// Seconds of each step behind the first ones, which warm up.
struct StepTimes {
  static constexpr int kWarm = 5;
  std::vector<double> seconds;
  Clock::time_point last;
  double loss = 0;

  void note(std::int64_t done, double now_loss) {
    const auto now = Clock::now();
    if (done > kWarm) seconds.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
    loss = now_loss;
  }
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 6) {
    std::fprintf(stderr,
                 "usage: training_step PLUGINS DEVICE PRECISION BATCH LENGTH [STEPS [D_MODEL LAYERS VOCABULARY]]\n");
    return 2;
  }
  const auto number = [&](int at, std::int64_t otherwise) {
    return count > at ? std::atoll(arguments[at]) : otherwise;
  };
  const std::string folder = arguments[1], device = arguments[2], precision = arguments[3];
  const std::int64_t batch = number(4, 8), length = number(5, 512), steps = number(6, 25);
  const std::int64_t vocabulary = number(9, 50280);
  try {
    if (device == "cuda") load(folder, "cuda");
    for (const char* plugin : {"mamba", "train"}) load(folder, plugin);
    if (device == "cuda") load(folder, "mamba_cuda");
    for (const WorkerService& service : worker_services()) {
      if (service.set_up) service.set_up(1);
    }
    RunRequest make;
    make.op = "mamba/mamba";
    make.params = {{"d_model", number(7, 768)}, {"layers", number(8, 24)}, {"vocabulary", vocabulary}};
    make.device = device;
    const Value model = run_op(make);
    RunRequest train;
    train.op = "train/train";
    train.params = {{"steps", steps},         {"batch", batch},        {"length", length},
                    {"precision", precision}, {"learning_rate", 1e-4}, {"clip", 1.0}};
    train.inputs = {{"model", model.at("model")}, {"data", random_text(1 << 20, vocabulary)}};
    train.device = device;
    StepTimes times;
    train.progress = [&](std::int64_t done, std::int64_t, const std::string&, const auto& metrics) {
      times.note(done, metrics.front().second);
    };
    run_op(train);
    std::sort(times.seconds.begin(), times.seconds.end());
    double peak = 0;
    if (device == "cuda") {
      const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(0);
      constexpr double kMegabyte = 1e6;
      peak = static_cast<double>(stats.allocated_bytes.at(0).peak) / kMegabyte;
    }
    std::printf("ours %s %s B %lld L %lld: %.2f ms a step (least %.2f), peak %.0f MB, loss %.4f\n", device.c_str(),
                precision.c_str(), static_cast<long long>(batch), static_cast<long long>(length),
                1e3 * times.seconds.at(times.seconds.size() / 2), 1e3 * times.seconds.front(), peak, times.loss);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_step: %s\n", error.what());
    return 1;
  }
  return 0;
}
