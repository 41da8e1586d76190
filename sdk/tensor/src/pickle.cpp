#include "pickle.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr int kDeepest = 64;

// Operations of protocols 2 to 5 that pickles of tensors use, by the letters of Python's documentation.
enum class Op : unsigned char {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  binfloat = 'G',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  none = 'N',
  binpersid = 'Q',
  reduce = 'R',
  binunicode = 'X',
  short_binunicode = 0x8c,
  append = 'a',
  build = 'b',
  global = 'c',
  appends = 'e',
  get = 'h',
  long_get = 'j',
  list = 'l',
  empty_list = ']',
  put = 'q',
  long_put = 'r',
  setitem = 's',
  tuple = 't',
  empty_tuple = ')',
  setitems = 'u',
  empty_dict = '}',
  proto = 0x80,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
};

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  PickleRef read() {
    for (;;) {
      const auto code = take(1)[0];
      if (static_cast<Op>(code) == Op::stop) return pop();
      run(static_cast<unsigned char>(code));
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const { throw Error(ErrorKind::input, where_ + ": " + reason); }

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) refuse("its pickle ends in the middle, at byte " + std::to_string(bytes_.size()));
    const std::string_view out = bytes_.substr(at_, count);
    at_ += count;
    return out;
  }
  std::uint64_t number(std::size_t size) {
    const std::string_view raw = take(size);
    std::uint64_t value = 0;
    std::memcpy(&value, raw.data(), size);
    return value;
  }
  std::string line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse("its pickle ends in the middle of a name");
    const std::string text(take(end - at_));
    take(1);
    return text;
  }

  template <typename T>
  void push(T value, const std::vector<PickleRef>& contents = {}) {
    const auto pushed = std::make_shared<const PickleValue>(PickleValue{std::move(value)});
    for (const PickleRef& item : contents) put_inside(*pushed, item);
    stack_.push_back(pushed);
  }
  PickleRef pop() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() == marks_.back()))
      refuse("its pickle is damaged: it takes more than it put");
    PickleRef top = std::move(stack_.back());
    stack_.pop_back();
    return top;
  }
  std::vector<PickleRef> pop_mark() {
    if (marks_.empty()) refuse("its pickle is damaged: a mark is missing");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::vector<PickleRef> items) { push(PickleTuple{items}, items); }
  void push_last(std::size_t count) {
    std::vector<PickleRef> items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    push_tuple(std::move(items));
  }

  const PickleRef& top() const {
    if (stack_.empty()) refuse("its pickle is damaged: it changes what is not there");
    return stack_.back();
  }
  /// Puts `item` inside a value.
  void put_inside(const PickleValue& value, const PickleRef& item) const {
    item->inside = true;
    value.depth = std::max(value.depth, item->depth + 1);
    if (value.depth > kDeepest) refuse("its pickle is nested more than " + std::to_string(kDeepest) + " deep");
  }
  void append(const std::vector<PickleRef>& items) {
    const PickleRef list = changing();
    const auto* content = list->as<PickleList>();
    if (content == nullptr) refuse("its pickle is damaged: it appends to what is no list");
    for (const PickleRef& item : items) {
      put_inside(*list, item);
      content->items.push_back(item);
    }
    if (list->inside) refuse("its pickle has a list that contains itself");
  }
  void set(const std::vector<PickleRef>& items) {
    const PickleRef dict = changing();
    const auto* content = dict->as<PickleDict>();
    if (content == nullptr || items.size() % 2 != 0)
      refuse("its pickle is damaged: it sets entries of what is no dictionary");
    for (std::size_t i = 0; i < items.size(); i += 2) {
      put_inside(*dict, items[i]);
      put_inside(*dict, items[i + 1]);
      if (dict->inside) refuse("its pickle has a dictionary that contains itself");
      content->entries.emplace_back(items[i], items[i + 1]);
    }
  }
  /// The container on top, which must not be part of another yet.
  PickleRef changing() const {
    const PickleRef container = top();
    if (container->inside) refuse("its pickle changes a container that is part of another");
    return container;
  }

  void push_global(const std::string& module, const std::string& name) { push(PickleGlobal{module, name}); }

  void reduce() {
    const PickleRef arguments = pop();
    const PickleRef function = pop();
    const auto* global = function->as<PickleGlobal>();
    if (global == nullptr || arguments->as<PickleTuple>() == nullptr) refuse("its pickle calls what is no name");
    const std::string name = global->full();
    const bool dictionary = name == "collections.OrderedDict";
    if (!dictionary && name != "torch._utils._rebuild_tensor_v2" && name != "torch._utils._rebuild_parameter") {
      refuse("its pickle asks for " + name + ", which weights have no need of; nothing of it was executed");
    }
    if (dictionary) return push(PickleDict{});
    push(PickleCall{*global, arguments}, {arguments});
  }

  // State of an object, of which dictionaries have some (`_metadata`) that says nothing about weights.
  void build() {
    pop();
    if (top()->as<PickleDict>() == nullptr) refuse("its pickle sets the state of what is no dictionary");
  }

  void get(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) refuse("its pickle is damaged: it recalls what it never kept");
    stack_.push_back(found->second);
  }

  void push_long() {
    const std::size_t size = number(1);
    constexpr std::size_t kMost = 8;
    if (size > kMost) refuse("its pickle has a number of " + std::to_string(size) + " bytes");
    const std::string_view raw = take(size);
    std::int64_t value = size > 0 && (raw.back() & 0x80) != 0 ? -1 : 0;
    std::memcpy(&value, raw.data(), size);
    push(value);
  }

  void push_float() {
    const std::string_view raw = take(sizeof(double));
    char bytes[sizeof(double)];
    std::reverse_copy(raw.begin(), raw.end(), bytes);
    double value = 0;
    std::memcpy(&value, bytes, sizeof value);
    push(value);
  }

  void stack_global() {
    const PickleRef name = pop(), module = pop();
    const auto* name_text = name->as<std::string>();
    const auto* module_text = module->as<std::string>();
    if (name_text == nullptr || module_text == nullptr) refuse("its pickle is damaged: a name is no text");
    push_global(*module_text, *name_text);
  }

  void run(unsigned char code) {
    switch (static_cast<Op>(code)) {
      case Op::proto:
        take(1);
        return;
      case Op::frame:
        take(8);
        return;
      case Op::mark:
        marks_.push_back(stack_.size());
        return;
      case Op::pop:
        pop();
        return;
      case Op::pop_mark:
        pop_mark();
        return;
      case Op::none:
        return push(PickleNone{});
      case Op::newtrue:
        return push(true);
      case Op::newfalse:
        return push(false);
      case Op::binint:
        return push(std::int64_t{static_cast<std::int32_t>(number(4))});
      case Op::binint1:
        return push(static_cast<std::int64_t>(number(1)));
      case Op::binint2:
        return push(static_cast<std::int64_t>(number(2)));
      case Op::long1:
        return push_long();
      case Op::binfloat:
        return push_float();
      case Op::binunicode:
        return push(std::string(take(number(4))));
      case Op::short_binunicode:
        return push(std::string(take(number(1))));
      case Op::empty_tuple:
        return push_tuple({});
      case Op::tuple1:
        return push_last(1);
      case Op::tuple2:
        return push_last(2);
      case Op::tuple3:
        return push_last(3);
      case Op::tuple:
        return push_tuple(pop_mark());
      case Op::empty_list:
        return push(PickleList{});
      case Op::empty_dict:
        return push(PickleDict{});
      case Op::append:
        return append({pop()});
      case Op::appends:
        return append(pop_mark());
      case Op::setitems:
        return set(pop_mark());
      case Op::setitem: {
        const PickleRef value = pop(), key = pop();
        return set({key, value});
      }
      case Op::put:
        memo_[number(1)] = top();
        return;
      case Op::long_put:
        memo_[number(4)] = top();
        return;
      case Op::memoize:
        memo_[memo_.size()] = top();
        return;
      case Op::get:
        return get(number(1));
      case Op::long_get:
        return get(number(4));
      case Op::global: {
        const std::string module = line();
        return push_global(module, line());
      }
      case Op::stack_global:
        return stack_global();
      case Op::reduce:
        return reduce();
      case Op::build:
        return build();
      case Op::binpersid: {
        const PickleRef key = pop();
        return push(PicklePersistent{key}, {key});
      }
      default:
        refuse("its pickle has the operation " + std::to_string(code) + ", which pickles of weights do not have");
    }
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::string where_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint64_t, PickleRef> memo_;
};

}  // namespace

PickleRef read_pickle(std::string_view bytes, const std::string& where) {
  return Reader(bytes, where).read();
}

}  // namespace colonnade
