#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace colonnade {

// Who has to act on an error; the executable turns it into its exit code.
enum class ErrorKind {
  usage,        // a command line, a study or its settings (exit 2)
  input,        // data or weights that an op was given (the trial fails, exit 1)
  op,           // an op failed while evaluating (the trial fails, exit 1)
  environment,  // the machine: rights, disk, a plugin that does not fit (exit 3)
};

// The one exception of Colonnade. `what()` is a complete sentence for the user: where, what was found, what is allowed,
// the nearest valid name.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Thrown out of OpContext::progress when the host asks a running op to stop. Ops let it pass.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

// The candidate nearest to `name` by edit distance (transpositions count one), or "" if none is near enough to be meant.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

// "; did you mean 'x'?" or "" - ready to append to a message.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace colonnade
