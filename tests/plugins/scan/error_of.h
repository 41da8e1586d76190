#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "colonnade/error.h"

namespace colonnade::scan {

// What `action` tells its user when it refuses its input; "no error" where it does not.
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return error.what();
  }
  return "no error";
}

}  // namespace colonnade::scan
