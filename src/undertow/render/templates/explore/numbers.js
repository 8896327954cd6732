// Numbers as the rest of the page writes them.
const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const LOWERED = "₀₁₂₃₄₅₆₇₈₉";
const raised = (n) => [...String(n)].map((sign) => RAISED[sign]).join("");
const lowered = (n) => [...String(n)].map((digit) => LOWERED[digit]).join("");
const signed = (text) => text.replace("-", "−");

const number = (value) => {
  if (value === Infinity) return "∞";
  if (!Number.isFinite(value)) return value === -Infinity ? "−∞" : "not finite";
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-4 && size < 1e3)) return signed(String(Number(value.toPrecision(3))));
  if (size >= 1e3 && size < 1e6) return signed(Math.round(value).toLocaleString("en"));
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return signed(String(Number(mantissa))) + "×10" + raised(Number(exponent));
};

// What a reader sees is rounded; what is read off by a program isn't.
const tell = (element, value, text = number(value)) => {
  element.textContent = text;
  element.dataset.value = String(value);
};
