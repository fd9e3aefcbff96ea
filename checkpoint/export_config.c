/* config.json and video_preprocessor_config.json as transformers reads them. */
#include "checkpoint/export_config.h"

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"

enum { NUMBER_BYTES = 40, CONFIG_LIMIT_BYTES = 1 << 20 };

/* The shortest decimal that reads back to the same double: a rounded mlp_ratio would give another
 * width (int(1408 * 4.3636) is 6143). */
static void number_text(char *out, double value)
{
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(out, NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    if (strpbrk(out, ".e") == NULL)
        (void)snprintf(out + strlen(out), NUMBER_BYTES - strlen(out), ".0");
}

static int frames_of(const struct config *config)
{
    int most = 0;
    for (int i = 0; i < config->data.dataset_count; i++)
        if (config->data.datasets[i].frames_per_clip > most)
            most = config->data.datasets[i].frames_per_clip;
    return most;
}

static const char model_config[] = "{\n"
                                   "  \"architectures\": [\n"
                                   "    \"VJEPA2Model\"\n"
                                   "  ],\n"
                                   "  \"attention_dropout\": 0.0,\n"
                                   "  \"attention_probs_dropout_prob\": 0.0,\n"
                                   "  \"crop_size\": %d,\n"
                                   "  \"drop_path_rate\": 0.0,\n"
                                   "  \"frames_per_clip\": %d,\n"
                                   "  \"hidden_act\": \"gelu\",\n"
                                   "  \"hidden_size\": %d,\n"
                                   "  \"image_size\": %d,\n"
                                   "  \"in_chans\": 3,\n"
                                   "  \"initializer_range\": %s,\n"
                                   "  \"layer_norm_eps\": 1e-06,\n"
                                   "  \"mlp_ratio\": %s,\n"
                                   "  \"model_type\": \"vjepa2\",\n"
                                   "  \"num_attention_heads\": %d,\n"
                                   "  \"num_hidden_layers\": %d,\n"
                                   "  \"num_pooler_layers\": 3,\n"
                                   "  \"patch_size\": %d,\n"
                                   "  \"pred_hidden_size\": %d,\n"
                                   "  \"pred_mlp_ratio\": %s,\n"
                                   "  \"pred_num_attention_heads\": %d,\n"
                                   "  \"pred_num_hidden_layers\": %d,\n"
                                   "  \"pred_num_mask_tokens\": %d,\n"
                                   "  \"pred_zero_init_mask_tokens\": %s,\n"
                                   "  \"qkv_bias\": true,\n"
                                   "  \"torch_dtype\": \"%s\",\n"
                                   "  \"tubelet_size\": %d\n"
                                   "}\n";

static const char video_config[] = "{\n"
                                   "  \"crop_size\": {\n"
                                   "    \"height\": %d,\n"
                                   "    \"width\": %d\n"
                                   "  },\n"
                                   "  \"do_center_crop\": true,\n"
                                   "  \"do_normalize\": true,\n"
                                   "  \"do_rescale\": true,\n"
                                   "  \"do_resize\": true,\n"
                                   "  \"image_mean\": [\n    0.485,\n    0.456,\n    0.406\n  ],\n"
                                   "  \"image_std\": [\n    0.229,\n    0.224,\n    0.225\n  ],\n"
                                   "  \"resample\": 2,\n"
                                   "  \"rescale_factor\": 0.00392156862745098,\n"
                                   "  \"size\": {\n"
                                   "    \"shortest_edge\": %d\n"
                                   "  },\n"
                                   "  \"video_processor_type\": \"VJEPA2VideoProcessor\"\n"
                                   "}\n";

static ls_status write_text(const char *folder, const char *name, const char *text)
{
    char *path = NULL;
    ls_status st = core_format(&path, "%s/%s", folder, name);
    if (st == LS_OK)
        st = files_replace(path, text, strlen(text));
    free(path);
    return st;
}

ls_status export_config_write(const char *folder, const struct config *config,
                              const struct model_shape *shape, bool bfloat16)
{
    ls_status st = LS_OK;
    char *text = NULL;
    char ratio[NUMBER_BYTES];
    char pred_ratio[NUMBER_BYTES];
    char range[NUMBER_BYTES];
    const int crop = config->data.crop_height;
    number_text(ratio, config->model.mlp_ratio);
    number_text(pred_ratio, config->model.pred_mlp_ratio);
    number_text(range, shape->init_std);
    LS_TRY(core_format(&text, model_config, crop, frames_of(config), shape->dim, crop, range, ratio,
                       shape->heads, shape->depth, shape->patch, shape->pred_dim, pred_ratio,
                       shape->pred_heads, shape->pred_depth, shape->mask_tokens,
                       shape->zero_mask_tokens ? "true" : "false",
                       bfloat16 ? "bfloat16" : "float32", shape->tubelet));
    LS_TRY(write_text(folder, "config.json", text));
    free(text);
    text = NULL;
    /* The public evaluation resizes the short side to 256/224 of the crop. */
    LS_TRY(core_format(&text, video_config, crop, crop, crop * 256 / 224));
    LS_TRY(write_text(folder, "video_preprocessor_config.json", text));
done:
    free(text);
    return st;
}

/* A number of config.json, or its default where it is not given. */
static double number_of(const cJSON *root, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

struct comparison {
    struct misfits *misfits;
    const char *path;
    const cJSON *root;
};

static void compare(const struct comparison *with, const char *key, double otherwise, double ours,
                    const char *our_key)
{
    double theirs = number_of(with->root, key, otherwise);
    if (theirs != ours)
        misfits_add(with->misfits, "%s: %s is %.17g, the config's %s gives %.17g", with->path, key,
                    theirs, our_key, ours);
}

/* The width of an MLP follows from its ratio as transformers computes it. */
static void compare_ratio(const struct comparison *with, const char *key, const char *width_key,
                          double width_otherwise, int ours, const char *our_key)
{
    double ratio = number_of(with->root, key, 4.0);
    double width = number_of(with->root, width_key, width_otherwise);
    double theirs = trunc(width * ratio);
    if (theirs != ours)
        misfits_add(with->misfits, "%s: %s %.17g gives an MLP of %.0f, the config's %s one of %d",
                    with->path, key, ratio, theirs, our_key, ours);
}

static void compare_fixed(const struct comparison *with)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(with->root, "model_type");
    const cJSON *act = cJSON_GetObjectItemCaseSensitive(with->root, "hidden_act");
    const cJSON *bias = cJSON_GetObjectItemCaseSensitive(with->root, "qkv_bias");
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "vjepa2") != 0)
        misfits_add(with->misfits, "%s: model_type is not vjepa2", with->path);
    if (act != NULL && (!cJSON_IsString(act) || strcmp(act->valuestring, "gelu") != 0))
        misfits_add(with->misfits, "%s: hidden_act is not gelu, which is all that is trained here",
                    with->path);
    if (bias != NULL && !cJSON_IsTrue(bias))
        misfits_add(with->misfits, "%s: qkv_bias is not true: blocks have biases here", with->path);
    compare(with, "in_chans", 3, 3, "RGB input");
    compare(with, "layer_norm_eps", 1e-6, 1e-6, "LayerNorm");
}

static void compare_all(const struct comparison *with, const struct model_shape *shape,
                        bool any_mask_tokens)
{
    compare_fixed(with);
    compare(with, "patch_size", 16, shape->patch, "data.patch_size");
    compare(with, "tubelet_size", 2, shape->tubelet, "data.tubelet_size");
    compare(with, "hidden_size", 1024, shape->dim, "model.embed_dim");
    compare(with, "num_hidden_layers", 24, shape->depth, "model.depth");
    compare(with, "num_attention_heads", 16, shape->heads, "model.num_heads");
    compare_ratio(with, "mlp_ratio", "hidden_size", 1024, shape->hidden, "model.mlp_ratio");
    compare(with, "pred_hidden_size", 384, shape->pred_dim, "model.pred_embed_dim");
    compare(with, "pred_num_hidden_layers", 12, shape->pred_depth, "model.pred_depth");
    compare(with, "pred_num_attention_heads", 12, shape->pred_heads, "model.pred_num_heads");
    compare_ratio(with, "pred_mlp_ratio", "pred_hidden_size", 384, shape->pred_hidden,
                  "model.pred_mlp_ratio");
    if (!any_mask_tokens)
        compare(with, "pred_num_mask_tokens", 10, shape->mask_tokens,
                "number of mask groups x datasets (--mask-token K takes one of them for all)");
}

ls_status export_config_compare(struct misfits *misfits, const char *folder,
                                const struct config *config, const struct model_shape *shape,
                                bool any_mask_tokens)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    LS_TRY(core_format(&path, "%s/config.json", folder));
    LS_TRY(files_read(&text, NULL, path, CONFIG_LIMIT_BYTES));
    root = cJSON_Parse(text);
    if (!cJSON_IsObject(root)) {
        st = LS_FAIL(LS_DATA, "%s: no JSON object", path);
        goto done;
    }
    struct comparison with = {misfits, path, root};
    compare_all(&with, shape, any_mask_tokens);
    double crop = number_of(root, "crop_size", 256);
    double frames = number_of(root, "frames_per_clip", 64);
    if (crop != config->data.crop_height || frames != frames_of(config))
        log_info("import crop_size=\"%g -> %d\" frames_per_clip=\"%g -> %d\"", crop,
                 config->data.crop_height, frames, frames_of(config));
done:
    cJSON_Delete(root);
    free(text);
    free(path);
    return st;
}
