/* model.s: the files of EmojiCanvas that opening it, forgetting a style and drawing ask for, and their table, model_files of board.h.
 * A path is what saeuron_host.map is asked for and, below weights/, where the assembler finds the file. */
        .macro  file path
        .section .model, "a"
        .balign 8
1:      .incbin "\path"
2:
        .section .rodata.paths, "a"
3:      .asciz  "\path"
        .section .rodata.files, "a"
        .word   3b, 1b, 2b - 1b
        .endm

        .section .rodata.files, "a"
        .balign 4
        .global model_files
model_files:
        file    emojicanvas/concepts.json
        file    emojicanvas/scheduler/scheduler_config.json
        file    emojicanvas/tokenizer/merges.txt
        file    emojicanvas/tokenizer/special_tokens_map.json
        file    emojicanvas/tokenizer/tokenizer_config.json
        file    emojicanvas/tokenizer/vocab.json
        file    emojicanvas/text_encoder/config.json
        file    emojicanvas/text_encoder/model.safetensors
        file    emojicanvas/unet/config.json
        file    emojicanvas/unet/diffusion_pytorch_model.safetensors
        file    emojicanvas/vae/config.json
        file    emojicanvas/vae/diffusion_pytorch_model.safetensors
        file    emojicanvas/sae/up_blocks.1.attentions.2/cfg.json
        file    emojicanvas/sae/up_blocks.1.attentions.2/forget.json
        file    emojicanvas/sae/up_blocks.1.attentions.2/sae.safetensors
        file    emojicanvas/sae/up_blocks.1.attentions.2/stats.safetensors
        .word   0, 0, 0
