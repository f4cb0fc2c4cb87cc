// The operations of the C interface, each in the file of its family.
#pragma once

#include "tests/backends/case.h"

namespace duet::reference {}
namespace duet::test::backends {

namespace reference = duet::reference;

void linear(Case& c);
void head(Case& c);
void activation(Case& c);
void dropout(Case& c);
void unit_rows(Case& c);
void layer_norm(Case& c);
void decorrelation(Case& c);
void cross_entropy(Case& c);
void gather(Case& c);
void weighted_mean(Case& c);
void weighted_sum(Case& c);
void terms(Case& c);
void random_draw(Case& c);
void supervision(Case& c);
void adamw(Case& c);
void sgd(Case& c);
void distance(Case& c);
void mining_hard(Case& c);
void mining_semihard(Case& c);
void mining_distance_weighted(Case& c);
void triplet(Case& c);
void alignment(Case& c);
void alignment_probabilities(Case& c);
void contrastive(Case& c);
void contrastive_relation(Case& c);
void distillation(Case& c);
void retrieval(Case& c);
void retrieval_top_k(Case& c);

}  // namespace duet::test::backends
