// Hard negatives from duet beside search with FAISS's index, on the same embeddings. Both compute the neighbours by
// inner product, and the nearest row of another class; the program says how far they agree and fails where they do not.
#include <duet/duet.h>
#include <faiss/IndexFlat.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int64_t kQueries = 300, kGallery = 2000, kWidth = 48, kNearest = 10;
constexpr int kClasses = 20;

// Both sum 48 products of float32, each in its own order: an inner product of unit rows is within 2e-6 of the exact
// one, a squared distance within twice that, on either side.
constexpr double kScoreError = 4e-6, kDistanceError = 8e-6;

void check(duet_status status) {
  if (status != DUET_STATUS_OK) throw std::runtime_error(duet_last_error());
}

// Unit rows about the centre of their class.
struct Embeddings {
  std::vector<float> rows;
  std::vector<int32_t> labels;
  int64_t count;

  Embeddings(int64_t count, unsigned seed) : count(count) {
    std::mt19937 of_centres(1), random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> centres(kClasses * kWidth);
    for (float& value : centres) value = normal(of_centres);
    for (int64_t i = 0; i < count; ++i) {
      const int label = static_cast<int>(i % kClasses);
      labels.push_back(label);
      double squares = 0;
      for (int64_t k = 0; k < kWidth; ++k) {
        rows.push_back(centres[label * kWidth + k] + normal(random));
        squares += rows.back() * rows.back();
      }
      for (int64_t k = 0; k < kWidth; ++k) rows[i * kWidth + k] /= static_cast<float>(std::sqrt(squares));
    }
  }
  duet_const_matrix matrix() const { return duet_f32_const_matrix(rows.data(), count, kWidth); }
  duet_const_vector classes() const { return duet_i32_const_vector(labels.data(), count); }
};

struct Neighbours {
  std::vector<int64_t> indices;
  std::vector<float> values;
  explicit Neighbours(int64_t count) : indices(count), values(count) {}
};

class Duet {
 public:
  Duet() {
    duet_context* context = nullptr;
    check(duet_context_create(nullptr, &context));
    context_.reset(context);
  }

  // Of each query the nearest row of another class, by squared Euclidean distance.
  Neighbours hard_negatives(const Embeddings& queries, const Embeddings& gallery) {
    duet_mining_inputs inputs = DUET_MINING_INPUTS_INIT;
    inputs.x = queries.matrix(), inputs.y = gallery.matrix(), inputs.metric = DUET_METRIC_SQEUCLIDEAN;
    inputs.labels_x = queries.classes(), inputs.labels_y = gallery.classes();
    std::vector<int32_t> indices(queries.count);
    Neighbours out(queries.count);
    duet_mining_hard_side rows = DUET_MINING_HARD_SIDE_INIT;
    rows.negative_index = duet_i32_vector(indices.data(), queries.count);
    rows.negative_distance = duet_f32_vector(out.values.data(), queries.count);
    duet_mining_hard_outputs outputs = DUET_MINING_HARD_OUTPUTS_INIT;
    outputs.rows = &rows;
    size_t bytes = 0;
    check(duet_mining_workspace(context_.get(), &inputs, &bytes));
    check(duet_mining_hard(context_.get(), &inputs, &outputs, workspace(bytes)));
    std::copy(indices.begin(), indices.end(), out.indices.begin());
    return out;
  }

  // Of each query the k rows of the largest cosine, which for unit rows is the inner product.
  Neighbours nearest(const Embeddings& queries, const Embeddings& gallery, int64_t k) {
    duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
    inputs.queries = queries.matrix(), inputs.gallery = gallery.matrix();
    std::vector<int32_t> indices(queries.count * k);
    Neighbours out(queries.count * k);
    duet_retrieval_top_k_outputs outputs = DUET_RETRIEVAL_TOP_K_OUTPUTS_INIT;
    outputs.indices = duet_i32_matrix(indices.data(), queries.count, k);
    outputs.scores = duet_f32_matrix(out.values.data(), queries.count, k);
    size_t bytes = 0;
    check(duet_retrieval_workspace(context_.get(), &inputs, &bytes));
    check(duet_retrieval_top_k(context_.get(), &inputs, &outputs, workspace(bytes)));
    std::copy(indices.begin(), indices.end(), out.indices.begin());
    return out;
  }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  struct Destroy {
    void operator()(duet_context* context) const { duet_context_destroy(context); }
  };
  duet_workspace workspace(size_t bytes) {
    scratch_.resize((bytes + sizeof(Line) - 1) / sizeof(Line));
    return {scratch_.data(), bytes};
  }
  std::unique_ptr<duet_context, Destroy> context_;
  std::vector<Line> scratch_;
};

Neighbours search(const faiss::Index& index, const Embeddings& queries, int64_t k) {
  Neighbours out(queries.count * k);
  index.search(queries.count, queries.rows.data(), k, out.values.data(), out.indices.data());
  return out;
}

// Of each query the first row of another class in FAISS's order.
Neighbours first_of_another_class(const Neighbours& found, const Embeddings& queries, const Embeddings& gallery) {
  const int64_t k = static_cast<int64_t>(found.indices.size()) / queries.count;
  Neighbours out(queries.count);
  for (int64_t i = 0; i < queries.count; ++i) {
    int64_t j = i * k;
    while (j < (i + 1) * k && gallery.labels[found.indices[j]] == queries.labels[i]) ++j;
    if (j == (i + 1) * k) throw std::runtime_error("query " + std::to_string(i) + " has no neighbour of another class");
    out.indices[i] = found.indices[j], out.values[i] = found.values[j];
  }
  return out;
}

// Values must agree within the error. Where the rows differ, these are values that the error cannot tell apart, of
// which there are few.
void compare(const char* what, const Neighbours& duet, const Neighbours& faiss, double error) {
  size_t same = 0;
  double worst = 0;
  for (size_t k = 0; k < duet.indices.size(); ++k) {
    same += duet.indices[k] == faiss.indices[k];
    worst = std::fmax(worst, std::fabs(duet.values[k] - faiss.values[k]));
  }
  std::printf("%s: %zu of %zu rows are the same, values within %.1e\n", what, same, duet.indices.size(), worst);
  if (!(worst <= error)) throw std::runtime_error(std::string(what) + ": values differ");
  if (same < duet.indices.size() - duet.indices.size() / 100)
    throw std::runtime_error(std::string(what) + ": more than a hundredth of the rows differ");
}

void run() {
  const Embeddings queries(kQueries, 2), gallery(kGallery, 3);
  Duet duet;
  faiss::IndexFlatIP by_product(kWidth);
  by_product.add(gallery.count, gallery.rows.data());
  compare("nearest by inner product", duet.nearest(queries, gallery, kNearest), search(by_product, queries, kNearest),
          kScoreError);

  faiss::IndexFlatL2 by_distance(kWidth);
  by_distance.add(gallery.count, gallery.rows.data());
  // A class has 100 rows: one more neighbour is of another.
  const Neighbours near = search(by_distance, queries, kGallery / kClasses + 1);
  compare("hard negatives", duet.hard_negatives(queries, gallery), first_of_another_class(near, queries, gallery),
          kDistanceError);
}

}  // namespace

int main() {
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "example: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
