-- How long are reviews in words, and how many does the token limit cut?
-- The rule: a review is cut where its words (category, headline and body) times tokens_per_word are more than the
-- limit less the three that mark begin, middle and end. With 1.2 it is right for 98 of 100 English reviews.
WITH rule AS (
    SELECT 128 AS token_limit, 1.2e0 AS tokens_per_word
),
lengths AS (
    SELECT
        length(review_body) - length(replace(review_body, ' ', '')) + 1 AS words,
        coalesce(length(review_headline) - length(replace(review_headline, ' ', '')) + 1, 0) AS headline_words,
        length(product_category) - length(replace(product_category, '_', '')) + 2 AS category_words
    FROM reviews
)
SELECT
    least(words - words % 10, 300) AS words_from,
    count(*) AS reviews,
    count(*) FILTER (WHERE (words + headline_words + category_words) * tokens_per_word > token_limit - 3) AS cut_reviews
FROM lengths CROSS JOIN rule
GROUP BY least(words - words % 10, 300)
ORDER BY words_from
