#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "colonnade/op.h"

namespace colonnade {

// Declares one op; obtained from Registrar::op. Every setter returns the declaration, `run` ends it.
class OpDeclaration {
 public:
  explicit OpDeclaration(OpSchema& schema, OpFunction& function) : schema_(schema), function_(function) {}
  OpDeclaration& doc(std::string text);
  OpDeclaration& example(std::string lua);
  OpDeclaration& version(std::int64_t number);  // raise it when results change in a way the binary's hash would not show
  OpDeclaration& measured();
  OpDeclaration& tolerant(double epsilon);
  OpDeclaration& stochastic();
  OpDeclaration& random();        // draws random numbers
  OpDeclaration& fixed_stream();  // ... the same ones at every occurrence
  OpDeclaration& input(std::string role, std::string type, std::string doc);
  OpDeclaration& optional_input(std::string role, std::string type, std::string doc);
  OpDeclaration& many_input(std::string role, std::string type, std::string doc);
  OpDeclaration& output(std::string name, std::string type, std::string doc);
  OpDeclaration& param(Param param);
  OpDeclaration& work(std::string expression);
  OpDeclaration& bytes(std::string expression);
  OpDeclaration& memory(std::string expression);
  OpDeclaration& any_device();
  OpDeclaration& time_limit(double seconds);
  OpDeclaration& run(OpFunction function);

 private:
  OpSchema& schema_;
  OpFunction& function_;
};

struct RegisteredOp {
  OpSchema schema;
  OpFunction function;
};

// Something a plugin offers to other plugins by kind and id: an architecture, an adapter type, a hook. Kind and C++ type
// belong together; sdk/tensor has typed wrappers.
struct Provided {
  std::string plugin;
  std::shared_ptr<const void> object;
};

// Collects what a plugin registers. Nothing takes effect unless the whole registration succeeds.
class Registrar {
 public:
  explicit Registrar(std::string plugin) : plugin_(std::move(plugin)) {}
  const std::string& plugin() const { return plugin_; }

  OpDeclaration& op(const std::string& name);
  void provide(const std::string& kind, const std::string& id, std::shared_ptr<const void> object);

 private:
  friend class Registry;
  struct Pending {
    RegisteredOp op;
    std::unique_ptr<OpDeclaration> declaration;
  };
  std::string plugin_;
  std::vector<std::unique_ptr<Pending>> ops_;
  std::map<std::pair<std::string, std::string>, Provided> provided_;
};

// What this process has loaded. One a process (it lives in the SDK library, which all plugins share); filled by the main
// thread while plugins load, read-only afterwards.
class Registry {
 public:
  static Registry& instance();

  // Checks every schema and commits all, or throws Error(environment) and leaves the registry as it was.
  void commit(Registrar&& registrar);

  const RegisteredOp* find_op(const std::string& id) const;
  std::vector<const RegisteredOp*> ops() const;
  // nullptr if there is none.
  const Provided* find_provided(const std::string& kind, const std::string& id) const;
  std::vector<std::string> provided_ids(const std::string& kind) const;
  // Everything that `plugin` provides: ids by kind.
  std::map<std::string, std::vector<std::string>> provided_by(const std::string& plugin) const {
    std::map<std::string, std::vector<std::string>> ids;
    for (const auto& [name, provided] : provided_) {
      if (provided.plugin == plugin) ids[name.first].push_back(name.second);
    }
    return ids;
  }

 private:
  std::map<std::string, std::unique_ptr<RegisteredOp>> ops_;
  std::map<std::pair<std::string, std::string>, Provided> provided_;
};

// Worker services that a library brings along (the tensor library registers LibTorch's threads and generator). Registered by
// static constructors of SDK libraries only.
struct WorkerService {
  std::string name;
  std::function<void(int threads)> set_up;        // may be empty
  std::function<std::string()> generator_state;   // a digest of a global random generator; may be empty
};
void register_worker_service(WorkerService service);
const std::vector<WorkerService>& worker_services();

}  // namespace colonnade
