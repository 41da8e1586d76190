#pragma once

#include <cstdint>
#include <exception>

#include "colonnade/registry.h"
#include "colonnade/version.h"

// A plugin is one shared object NAME.plugin.so with
//   - a stamp: text in the ELF section "colonnade_stamp", read by the host without loading the file;
//   - a descriptor: the POD below under the symbol `colonnade_plugin`;
//   - a function that registers its ops.
// COLONNADE_PLUGIN writes the first two; `colonnade_add_plugin` in CMake supplies the COLONNADE_PLUGIN_* macros.
//
//   namespace {
//   void register_plugin(colonnade::Registrar& registrar) {
//     registrar.op("double").doc("Doubles a number.")...
//   }
//   }
//   COLONNADE_PLUGIN(register_plugin)

namespace colonnade {

struct PluginDescriptor {
  std::uint32_t size;     // sizeof(PluginDescriptor)
  std::uint32_t sdk_abi;  // COLONNADE_SDK_ABI
  const char* name;
  const char* version;
  // Returns nullptr when done, else an error message that the host frees with `release`.
  char* (*register_plugin)(Registrar*);
  void (*release)(char*);
};

using RegisterFunction = void (*)(Registrar&);

// A copy of `message` that `release_message` frees.
char* own_message(const char* message) noexcept;

// Runs `function`, turning whatever it throws into an owned message. Inline, so that it is compiled into the plugin and no
// exception crosses the boundary.
inline char* guarded_register(RegisterFunction function, Registrar* registrar) noexcept {
  try {
    function(*registrar);
    return nullptr;
  } catch (const std::exception& error) {
    return own_message(error.what());
  } catch (...) {
    return own_message("it threw something that is not a std::exception");
  }
}

void release_message(char* message) noexcept;

}  // namespace colonnade

#define COLONNADE_STRINGIFY_(x) #x
#define COLONNADE_STRINGIFY(x) COLONNADE_STRINGIFY_(x)

// One "key=value" a line; values come from headers and build settings, never from version control.
#define COLONNADE_STAMP_TEXT                                                     \
  "colonnade-stamp=1\n"                                                          \
  "name=" COLONNADE_PLUGIN_NAME "\n"                                             \
  "version=" COLONNADE_PLUGIN_VERSION "\n"                                       \
  "abi=" COLONNADE_STRINGIFY(COLONNADE_SDK_ABI) "\n"                             \
  "abi_type=cpp\n"                                                               \
  "torch=" COLONNADE_PLUGIN_TORCH "\n"                                           \
  "compiler=" COLONNADE_COMPILER "\n"                                            \
  "standard=" COLONNADE_STRINGIFY(__cplusplus) "\n"                              \
  "cxx11_abi=" COLONNADE_STRINGIFY(_GLIBCXX_USE_CXX11_ABI) "\n"                  \
  "requires=" COLONNADE_PLUGIN_REQUIRES "\n"                                     \
  "extends=" COLONNADE_PLUGIN_EXTENDS "\n"

// GCC wants the visibility on the first declaration, `used` and `retain` on the definition; the assembler wants no symbol named
// like the section.
#define COLONNADE_PLUGIN(register_function)                                                               \
  extern "C" {                                                                                            \
  extern const char colonnade_stamp_text[];                                                               \
  __attribute__((section("colonnade_stamp"), used, retain)) const char colonnade_stamp_text[] =                \
      COLONNADE_STAMP_TEXT;                                                                               \
  __attribute__((visibility("default"))) extern const ::colonnade::PluginDescriptor colonnade_plugin;     \
  __attribute__((used)) const ::colonnade::PluginDescriptor colonnade_plugin = {                          \
      sizeof(::colonnade::PluginDescriptor), COLONNADE_SDK_ABI, COLONNADE_PLUGIN_NAME,                    \
      COLONNADE_PLUGIN_VERSION,                                                                           \
      [](::colonnade::Registrar* registrar) {                                                             \
        return ::colonnade::guarded_register(register_function, registrar);                               \
      },                                                                                                  \
      ::colonnade::release_message};                                                                      \
  }                                                                                                       \
  static_assert(true, "")
