/* tokenizer.h: CLIP's byte-level BPE: a prompt in UTF-8 becomes the ids that the text encoder reads.
 *
 *   prompt --special tokens cut out--> NFC, white space, lowercase --pattern--> words --merges--> ids, padded
 *
 * Not here: embeddings of ids (clip.c), Unicode's tables (files/unicode.h), printing of pieces (program/).
 * Source: transformers CLIPTokenizer (5.23) over the tokenizers library (0.23.3); equal to it id for id. */
#ifndef SAEURON_TOKENIZER_H
#define SAEURON_TOKENIZER_H

#include "saeuron.h"

#include <stdbool.h>

/* Bytes of one prompt; more is SAEURON_EUSAGE. n bytes take time O(n log n) and memory below 100 n. */
#define TOKENIZER_PROMPT_MAX 1048576
#define TOKENIZER_LENGTH_MAX 1048576 /* ids of one prompt after padding */

typedef struct tokenizer tokenizer;

/* Opens DIR/tokenizer.json if there is one, else DIR/vocab.json and DIR/merges.txt. Of the same folder
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json are optional and default to CLIP's. No
 * file stays open. *t is the caller's, for tokenizer_close. */
int  tokenizer_open(tokenizer **t, const saeuron_host *host, const char *dir, saeuron_error *err);
void tokenizer_close(tokenizer *t); /* NULL is fine */

/* SAEURON_EUSAGE when the text is not UTF-8 or longer than TOKENIZER_PROMPT_MAX, so that tokenizer_encode
 * would refuse it. name: what the message calls it, such as "the prompt". */
int  tokenizer_check(const char *utf8, const char *name, saeuron_error *err);

/* ids [tokenizer_max_length(t)]: start token, the prompt's ids, end token, padding. *count (may be NULL): ids
 * before the padding, start and end included. *cut (may be NULL): how many ids of the prompt did not fit and
 * were dropped. Refuses what tokenizer_check does. t does not
 * change: threads may share it, if several may call host->alloc. */
int  tokenizer_encode(const tokenizer *t, int32_t *ids, size_t *count, size_t *cut, const char *utf8,
                      saeuron_error *err);

/* The text of ids [count], as CLIPTokenizer.decode: pieces joined, </w> a blank, bytes that are no UTF-8
 * U+FFFD, and so is a zero byte. Encoded again it may give other ids. It is allocated by t's host: io_free.
 * NULL after an error: SAEURON_EUSAGE, there is no such id; SAEURON_ENOMEM. */
char  *tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, saeuron_error *err);

/* The config's model_max_length; 77 where that is absent or endless. It may be set from 2 to
 * TOKENIZER_LENGTH_MAX. */
size_t tokenizer_max_length(const tokenizer *t);
int    tokenizer_set_max_length(tokenizer *t, size_t n, saeuron_error *err);

/* The piece of an id as the vocabulary spells it ("cat</w>"), NULL if there is no such id. Owned by t. */
const char *tokenizer_piece(const tokenizer *t, int32_t id);
size_t tokenizer_size(const tokenizer *t); /* ids are 0 to tokenizer_size - 1 */
bool tokenizer_is_end(const tokenizer *t, int32_t id); /* it is the start or the end token */

#endif
