// Models of the ECP5 cells that Yosys instantiates and has no models of, in the modes it uses;
// any other mode stops the simulation.

module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
    P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTB_CE = "CE0";
    parameter REG_INPUTB_RST = "RST0";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter REG_OUTPUT_CE = "CE0";
    parameter REG_OUTPUT_RST = "RST0";
    initial if (REG_PIPELINE_CLK != "NONE"
                || REG_OUTPUT_CLK != "NONE" && (REG_OUTPUT_CLK != "CLK0" || REG_OUTPUT_CE != "CE0"
                                                || REG_OUTPUT_RST != "RST0")
                || REG_INPUTA_CLK != "NONE" && (REG_INPUTA_CLK != "CLK0" || REG_INPUTA_CE != "CE0"
                                                || REG_INPUTA_RST != "RST0")
                || REG_INPUTB_CLK != "NONE" && (REG_INPUTB_CLK != "CLK0" || REG_INPUTB_CE != "CE0"
                                                || REG_INPUTB_RST != "RST0")) begin
        $display("AssertionError: MULT18X18D with these registers has no model");
        $fatal;
    end
    wire [17:0] pins_a = {
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] pins_b = {
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire [17:0] factor_a, factor_b;
    generate
        if (REG_INPUTA_CLK == "NONE") assign factor_a = pins_a;
        else begin
            reg [17:0] held_a = 0;
            always @(posedge CLK0) if (RST0) held_a <= 0; else if (CE0) held_a <= pins_a;
            assign factor_a = held_a;
        end
        if (REG_INPUTB_CLK == "NONE") assign factor_b = pins_b;
        else begin
            reg [17:0] held_b = 0;
            always @(posedge CLK0) if (RST0) held_b <= 0; else if (CE0) held_b <= pins_b;
            assign factor_b = held_b;
        end
    endgenerate
    wire signed [18:0] a = {SIGNEDA & factor_a[17], factor_a};
    wire signed [18:0] b = {SIGNEDB & factor_b[17], factor_b};
    wire signed [37:0] p = a * b;
    wire [35:0] product;
    generate
        if (REG_OUTPUT_CLK == "NONE") assign product = p[35:0];
        else begin
            reg [35:0] held_p = 0;
            always @(posedge CLK0) if (RST0) held_p <= 0; else if (CE0) held_p <= p[35:0];
            assign product = held_p;
        end
    endgenerate
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
        P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = product;
endmodule

// True dual port memory of 512 x 36 bits. A port addresses bits with ADx13..0; where it is 18 or 36
// bits wide, the lowest address bits enable bytes of 9 bits instead. Narrower than 9, it does
// not see the ninth bits. A port of 36 bits has its upper half on the pins of port B to write, its
// lower half on the pins of port A to read.
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
    ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
    ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter REGMODE_A = "NOREG";
    parameter CSDECODE_A = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_B = "NOREG";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKBMUX = "CLKB";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 320'd0, INITVAL_01 = 320'd0, INITVAL_02 = 320'd0,
    INITVAL_03 = 320'd0, INITVAL_04 = 320'd0, INITVAL_05 = 320'd0, INITVAL_06 = 320'd0,
    INITVAL_07 = 320'd0, INITVAL_08 = 320'd0, INITVAL_09 = 320'd0, INITVAL_0A = 320'd0,
    INITVAL_0B = 320'd0, INITVAL_0C = 320'd0, INITVAL_0D = 320'd0, INITVAL_0E = 320'd0,
    INITVAL_0F = 320'd0, INITVAL_10 = 320'd0, INITVAL_11 = 320'd0, INITVAL_12 = 320'd0,
    INITVAL_13 = 320'd0, INITVAL_14 = 320'd0, INITVAL_15 = 320'd0, INITVAL_16 = 320'd0,
    INITVAL_17 = 320'd0, INITVAL_18 = 320'd0, INITVAL_19 = 320'd0, INITVAL_1A = 320'd0,
    INITVAL_1B = 320'd0, INITVAL_1C = 320'd0, INITVAL_1D = 320'd0, INITVAL_1E = 320'd0,
    INITVAL_1F = 320'd0, INITVAL_20 = 320'd0, INITVAL_21 = 320'd0, INITVAL_22 = 320'd0,
    INITVAL_23 = 320'd0, INITVAL_24 = 320'd0, INITVAL_25 = 320'd0, INITVAL_26 = 320'd0,
    INITVAL_27 = 320'd0, INITVAL_28 = 320'd0, INITVAL_29 = 320'd0, INITVAL_2A = 320'd0,
    INITVAL_2B = 320'd0, INITVAL_2C = 320'd0, INITVAL_2D = 320'd0, INITVAL_2E = 320'd0,
    INITVAL_2F = 320'd0, INITVAL_30 = 320'd0, INITVAL_31 = 320'd0, INITVAL_32 = 320'd0,
    INITVAL_33 = 320'd0, INITVAL_34 = 320'd0, INITVAL_35 = 320'd0, INITVAL_36 = 320'd0,
    INITVAL_37 = 320'd0, INITVAL_38 = 320'd0, INITVAL_39 = 320'd0, INITVAL_3A = 320'd0,
    INITVAL_3B = 320'd0, INITVAL_3C = 320'd0, INITVAL_3D = 320'd0, INITVAL_3E = 320'd0,
    INITVAL_3F = 320'd0;
    localparam [20479:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00
    };
    initial if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB" || CSDECODE_A != "0b000"
                || CSDECODE_B != "0b000") begin
        $display("AssertionError: DP16KD with inverted clock or chip select has no model");
        $fatal;
    end

    reg [35:0] memory [0:511];
    integer k;
    initial for (k = 0; k < 512; k = k + 1)
        memory[k] = {INIT[40 * k + 20 +: 18], INIT[40 * k +: 18]};

    function [5:0] offset(input integer width, input [4:0] address);
        case (width)
            36: offset = 0;
            18: offset = 18 * address[4];
            default: offset = 9 * address[4:3] + (width == 9 ? 0 : address[2:0] & ~(width - 1));
        endcase
    endfunction
    function [35:0] enabled(input integer width, input [3:0] bytes);
        case (width)
            36: enabled = {{9{bytes[3]}}, {9{bytes[2]}}, {9{bytes[1]}}, {9{bytes[0]}}};
            18: enabled = {18'd0, {9{bytes[1]}}, {9{bytes[0]}}};
            default: enabled = (36'd1 << width) - 1;
        endcase
    endfunction

    wire [13:0] address_a = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [35:0] data_a = {DATA_WIDTH_A == 36 ?
        {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0} : 18'd0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
        DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [5:0] offset_a = offset(DATA_WIDTH_A, address_a[4:0]);
    wire [35:0] enabled_a = enabled(DATA_WIDTH_A, address_a[3:0]) << offset_a;
    wire [35:0] old_a = memory[address_a[13:5]];
    wire [35:0] new_a = old_a & ~enabled_a | data_a << offset_a & enabled_a;
    wire clear_a = RESETMODE == "ASYNC" && RSTA;
    reg [35:0] read_a = 0;
    always @(posedge CLKA)
        if (CEA && WEA && (clear_a || !RSTA)) memory[address_a[13:5]] <= new_a;
    always @(posedge CLKA or posedge clear_a)
        if (clear_a) read_a <= 0;
        else if (RSTA) read_a <= 0;
        else if (CEA && (OCEA || REGMODE_A == "OUTREG"))
            if (!WEA || WRITEMODE_A == "READBEFOREWRITE") read_a <= old_a >> offset_a;
            else if (WRITEMODE_A == "WRITETHROUGH") read_a <= new_a >> offset_a;

    wire [13:0] address_b = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] data_b = {18'd0,
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [5:0] offset_b = offset(DATA_WIDTH_B, address_b[4:0]);
    wire [35:0] enabled_b = enabled(DATA_WIDTH_B, address_b[3:0]) << offset_b;
    wire [35:0] old_b = memory[address_b[13:5]];
    wire [35:0] new_b = old_b & ~enabled_b | data_b << offset_b & enabled_b;
    wire clear_b = RESETMODE == "ASYNC" && RSTB;
    reg [35:0] read_b = 0;
    always @(posedge CLKB)
        if (CEB && WEB && (clear_b || !RSTB)) memory[address_b[13:5]] <= new_b;
    always @(posedge CLKB or posedge clear_b)
        if (clear_b) read_b <= 0;
        else if (RSTB) read_b <= 0;
        else if (CEB && (OCEB || REGMODE_B == "OUTREG"))
            if (!WEB || WRITEMODE_B == "READBEFOREWRITE") read_b <= old_b >> offset_b;
            else if (WRITEMODE_B == "WRITETHROUGH") read_b <= new_b >> offset_b;

    reg [17:0] held_a = 0;
    reg [35:0] held_b = 0;
    always @(posedge CLKA) if (RSTA) held_a <= 0; else if (OCEA) held_a <= read_a[17:0];
    always @(posedge CLKB) if (RSTB) held_b <= 0; else if (OCEB) held_b <= read_b;
    wire [17:0] out_a = REGMODE_A == "OUTREG" ? held_a : read_a[17:0];
    wire [35:0] out_b = REGMODE_B == "OUTREG" ? held_b : read_b;

    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
        DOA4, DOA3, DOA2, DOA1, DOA0
    } = DATA_WIDTH_B == 36 ? out_b[17:0] : out_a;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
        DOB4, DOB3, DOB2, DOB1, DOB0
    } = DATA_WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];
endmodule
