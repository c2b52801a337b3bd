// Models of the Gowin cells that Yosys instantiates and has no models of, in the modes it uses;
// any other mode stops the simulation.

module MULT9X9 (
    input [8:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [17:0] DOUT,
    output [8:0] SOA, SOB
);
    parameter AREG = 1'b0;
    parameter BREG = 1'b0;
    parameter OUT_REG = 1'b0;
    parameter PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0;
    parameter BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0;
    parameter MULT_RESET_MODE = "SYNC";
    initial if (AREG || BREG || OUT_REG || PIPE_REG) begin
        $display("AssertionError: MULT9X9 with registers has no model");
        $fatal;
    end
    wire signed [9:0] a = {ASIGN & A[8], A};
    wire signed [9:0] b = {BSIGN & B[8], B};
    wire signed [19:0] p = a * b;
    assign DOUT = p[17:0];
endmodule

module MULT18X18 (
    input [17:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT,
    output [17:0] SOA, SOB
);
    parameter AREG = 1'b0;
    parameter BREG = 1'b0;
    parameter OUT_REG = 1'b0;
    parameter PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0;
    parameter BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0;
    parameter MULT_RESET_MODE = "SYNC";
    initial if (AREG || BREG || OUT_REG || PIPE_REG) begin
        $display("AssertionError: MULT18X18 with registers has no model");
        $fatal;
    end
    wire signed [18:0] a = {ASIGN & A[17], A};
    wire signed [18:0] b = {BSIGN & B[17], B};
    wire signed [37:0] p = a * b;
    assign DOUT = p[35:0];
endmodule
