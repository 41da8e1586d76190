#include "colonnade/registry.h"

#include <utility>

#include "colonnade/error.h"

namespace colonnade {

OpDeclaration& OpDeclaration::doc(std::string text) {
  schema_.doc = std::move(text);
  return *this;
}

OpDeclaration& OpDeclaration::example(std::string lua) {
  schema_.example = std::move(lua);
  return *this;
}

OpDeclaration& OpDeclaration::version(std::int64_t number) {
  schema_.version = number;
  return *this;
}

OpDeclaration& OpDeclaration::measured() {
  schema_.op_class = OpClass::measured;
  return *this;
}

OpDeclaration& OpDeclaration::tolerant(double epsilon) {
  schema_.op_class = OpClass::tolerant;
  schema_.epsilon = epsilon;
  return *this;
}

OpDeclaration& OpDeclaration::stochastic() {
  schema_.op_class = OpClass::stochastic;
  return *this;
}

OpDeclaration& OpDeclaration::random() {
  schema_.random = true;
  return *this;
}

OpDeclaration& OpDeclaration::fixed_stream() {
  schema_.random = true;
  schema_.fixed_stream = true;
  return *this;
}

OpDeclaration& OpDeclaration::input(std::string role, std::string type, std::string doc) {
  schema_.inputs.push_back({std::move(role), std::move(type), std::move(doc), false, false});
  return *this;
}

OpDeclaration& OpDeclaration::optional_input(std::string role, std::string type, std::string doc) {
  schema_.inputs.push_back({std::move(role), std::move(type), std::move(doc), true, false});
  return *this;
}

OpDeclaration& OpDeclaration::many_input(std::string role, std::string type, std::string doc) {
  schema_.inputs.push_back({std::move(role), std::move(type), std::move(doc), false, true});
  return *this;
}

OpDeclaration& OpDeclaration::output(std::string name, std::string type, std::string doc) {
  schema_.outputs.push_back({std::move(name), std::move(type), std::move(doc)});
  return *this;
}

OpDeclaration& OpDeclaration::param(Param param) {
  schema_.params.push_back(std::move(param));
  return *this;
}

OpDeclaration& OpDeclaration::work(std::string expression) {
  schema_.work = std::move(expression);
  return *this;
}

OpDeclaration& OpDeclaration::bytes(std::string expression) {
  schema_.bytes = std::move(expression);
  return *this;
}

OpDeclaration& OpDeclaration::memory(std::string expression) {
  schema_.memory = std::move(expression);
  return *this;
}

OpDeclaration& OpDeclaration::any_device() {
  schema_.device = "any";
  return *this;
}

OpDeclaration& OpDeclaration::time_limit(double seconds) {
  schema_.time_limit = seconds;
  return *this;
}

OpDeclaration& OpDeclaration::run(OpFunction function) {
  function_ = std::move(function);
  return *this;
}

OpDeclaration& Registrar::op(const std::string& name) {
  auto pending = std::make_unique<Pending>();
  pending->op.schema.plugin = plugin_;
  pending->op.schema.name = name;
  pending->declaration = std::make_unique<OpDeclaration>(pending->op.schema, pending->op.function);
  ops_.push_back(std::move(pending));
  return *ops_.back()->declaration;
}

void Registrar::provide(const std::string& kind, const std::string& id, std::shared_ptr<const void> object) {
  if (object == nullptr) {
    throw Error(ErrorKind::environment, "plugin '" + plugin_ + "' provides nothing as " + kind + " '" + id + "'");
  }
  const bool added = provided_.try_emplace({kind, id}, Provided{plugin_, std::move(object)}).second;
  if (!added) throw Error(ErrorKind::environment, "plugin '" + plugin_ + "' provides " + kind + " '" + id + "' twice");
}

Registry& Registry::instance() {
  // Never destroyed: what it holds was made by plugins, whose own static objects may be gone before it.
  static auto* const registry = new Registry;
  return *registry;
}

void Registry::commit(Registrar&& registrar) {
  std::map<std::string, std::unique_ptr<RegisteredOp>> added;
  for (const auto& pending : registrar.ops_) {
    check_schema(pending->op.schema);
    const std::string id = pending->op.schema.id();
    if (!pending->op.function) throw Error(ErrorKind::environment, "the op '" + id + "' was declared without run(...)");
    const auto known = ops_.find(id);
    if (known != ops_.end()) {
      throw Error(ErrorKind::environment, "the op '" + id + "' of plugin '" + registrar.plugin_ +
                                              "' is already registered by plugin '" + known->second->schema.plugin +
                                              "'");
    }
    if (!added.emplace(id, std::make_unique<RegisteredOp>(pending->op)).second) {
      throw Error(ErrorKind::environment, "plugin '" + registrar.plugin_ + "' registers the op '" + id + "' twice");
    }
  }
  for (const auto& [name, provided] : registrar.provided_) {
    const auto known = provided_.find(name);
    if (known == provided_.end()) continue;
    throw Error(ErrorKind::environment, name.first + " '" + name.second + "' is provided by plugin '" +
                                            provided.plugin + "' and by plugin '" + known->second.plugin + "'");
  }
  // Nothing below can fail: the nodes of the maps only change hands.
  ops_.merge(added);
  provided_.merge(registrar.provided_);
}

const RegisteredOp* Registry::find_op(const std::string& id) const {
  const auto found = ops_.find(id);
  return found == ops_.end() ? nullptr : found->second.get();
}

std::vector<const RegisteredOp*> Registry::ops() const {
  std::vector<const RegisteredOp*> result;
  for (const auto& [id, op] : ops_) result.push_back(op.get());
  return result;
}

const Provided* Registry::find_provided(const std::string& kind, const std::string& id) const {
  const auto found = provided_.find({kind, id});
  return found == provided_.end() ? nullptr : &found->second;
}

std::vector<std::string> Registry::provided_ids(const std::string& kind) const {
  std::vector<std::string> ids;
  for (const auto& [name, provided] : provided_) {
    if (name.first == kind) ids.push_back(name.second);
  }
  return ids;
}

namespace {

std::vector<WorkerService>& services() {
  // Made on first use, since static constructors of other libraries fill it; never destroyed, like the registry.
  static auto* const list = new std::vector<WorkerService>;
  return *list;
}

}  // namespace

void register_worker_service(WorkerService service) {
  services().push_back(std::move(service));
}

const std::vector<WorkerService>& worker_services() {
  return services();
}

}  // namespace colonnade
