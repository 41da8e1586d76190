#pragma once

// Raised whenever a class or function of the SDK changes in a way that a plugin built before cannot follow.
#define COLONNADE_SDK_ABI 2
#define COLONNADE_VERSION "0.1.0"

#define COLONNADE_VERSION_STRING_(x) #x
#define COLONNADE_VERSION_STRING(x) COLONNADE_VERSION_STRING_(x)
#if defined(__clang__)
#define COLONNADE_COMPILER "clang-" COLONNADE_VERSION_STRING(__clang_major__)
#elif defined(__GNUC__)
#define COLONNADE_COMPILER "gcc-" COLONNADE_VERSION_STRING(__GNUC__)
#else
#error "Colonnade builds with GCC 12 or later, or Clang"
#endif
