-- When was each category first reviewed, and when last? Reviews without a date do not count.
SELECT
    product_category,
    min(review_date) AS first_review,
    max(review_date) AS last_review,
    count(*) AS dated_reviews
FROM reviews
WHERE review_date IS NOT NULL
GROUP BY product_category
ORDER BY first_review, product_category
